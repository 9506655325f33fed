"""Rebuild the results in ``calibration/results`` and show how well they explain what they saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fitcalc.cli.answer import ANSWERED, show, write_json
from fitcalc.cli.measurements import needs_scipy, reading
from fitcalc.cli.progress import progress
from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fitcalc.calibrate.host import Fitted
    from fitcalc.calibrate.overheads import MemoryErrors
    from fitcalc.calibrate.results import Result

Parts = Mapping[str, object]


def rebuild_results(
    tables: Path | None, runs: Path | None, memory: Path | None, out: Path | None, *, as_json: bool
) -> int:
    """Fit kernels, then memory, then serving, each upon the results of those before."""
    needs_scipy("calibrate")
    from fitcalc.calibrate.host import rebuild_serving
    from fitcalc.calibrate.launch import rebuild_launch
    from fitcalc.calibrate.overheads import rebuild_overheads
    from fitcalc.calibrate.rebuild import RESULTS, rebuild

    if out is not None and out.resolve() != RESULTS.resolve() and (runs or memory):
        fix = "leave it out: serving and memory are fitted upon the tables that fitcalc reads"
        raise InvalidValue("out", out, fix)
    parts: dict[str, object] = {}
    views: list[RenderableType] = []
    if tables is not None:
        with reading("from_tables", tables), progress("fitting kernels") as told:
            laws = _law_rows(rebuild(tables, out or RESULTS, told))
            rebuild_launch(tables, out or RESULTS)
        parts["laws"] = [dict(zip(_LAW, row, strict=True)) for row in laws]
        views.append(_laws_view(laws))
    if memory is not None:
        with reading("memory", memory), progress("fitting memory"):
            held = rebuild_overheads(memory)
        parts["memory"] = held._asdict()
        views.append(_memory_view(held))
    if runs is not None:
        with reading("runs", runs), progress("fitting serving") as told:
            served = rebuild_serving(runs, told)
        parts["serving"] = _serving_part(served)
        views.append(_serving_view(served))
    if as_json:
        write_json(parts)
    else:
        from rich.console import Group

        show(lambda _: Group(*views))
    return ANSWERED


_LAW = ("gpu", "law", "format", "engine", "n", "median_error", "p90_error")
_LawRow = tuple[str, str, str, str, int, float, float]


def _law_rows(results: Mapping[str, Sequence[Result]]) -> list[_LawRow]:
    return [
        (gpu, r.law, r.key, r.engine, r.fit.n, r.fit.error, r.fit.error_p90)
        for gpu, found in results.items()
        for r in found
    ]


def _laws_view(rows: Sequence[_LawRow]) -> RenderableType:
    from fitcalc.report.parts import table

    made = table("Kernels", "GPU", "law", "format", "engine", "n", "median error", "p90")
    for gpu, law, key, engine, n, error, error_p90 in rows:
        made.add_row(gpu, law, key, engine, f"{n:,}", f"{error:.1%}", f"{error_p90:.1%}")
    return made


def _memory_view(held: MemoryErrors) -> RenderableType:
    from fitcalc.report.parts import table

    made = table("Memory, models left out", "figures", "median error", "p90", "80 % interval holds")
    made.add_row(
        f"{held.observations:,}", f"{held.median:.1%}", f"{held.p90:.1%}", f"{held.coverage:.0%}"
    )
    return made


def _serving_part(fit: Fitted) -> Parts:
    errors = {"runs": fit.n, "tpot_error": fit.tpot_error, "ttft_error": fit.ttft_error}
    return {**fit.values._asdict(), **errors}


def _serving_view(fit: Fitted) -> RenderableType:
    from fitcalc.report.parts import table

    made = table("Serving, in sample", "runs", "TPOT error", "TTFT error")
    made.add_row(f"{fit.n:,}", f"{fit.tpot_error:.1%}", f"{fit.ttft_error:.1%}")
    return made
