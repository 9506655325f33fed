"""``fitcalc validate``: how far predictions lie from what others measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, show, write_json
from fitcalc.cli.measurements import needs_scipy, reading
from fitcalc.cli.progress import progress
from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fitcalc.calibrate.accuracy_tables import Sheet
    from fitcalc.calibrate.starts import Start
    from fitcalc.calibrate.validate import Validation

_SILICON = "Folder with serving runs: e2e_vllm.csv and e2e_settings.csv."
_MEMORY = "Folder with vLLM's start-up logs: startup.csv."
_OUT = "Folder for accuracy.csv (errors by load) and runs.csv (every run as predicted)."
_WRITE = (
    "Rewrite docs/accuracy.* and calibration/results/accuracy.toml and runs.csv of this checkout."
)
_LEAD = """Errors in %, mean/median of abs(predicted / measured - 1).
Folds, models, GPUs: serving's coefficients are fitted without a run's fold, model or GPU.
Shipped: they are those of fitcalc's tables. Inside: share of runs in the 80 % interval.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Checked:
    """What was compared, and the tables that say so."""

    latency: Validation | None
    memory: Sequence[tuple[Start, float]] | None
    sheets: Sequence[Sheet]
    memory_sheet: Sheet | None


def validate(
    *,
    silicon: Annotated[Path | None, typer.Option(help=_SILICON)] = None,
    memory: Annotated[Path | None, typer.Option(help=_MEMORY)] = None,
    out: Annotated[Path | None, typer.Option(help=_OUT)] = None,
    write: Annotated[bool, typer.Option("--write", help=_WRITE)] = False,
    as_json: opt.Json = False,
) -> int:
    """Predict measured runs without having seen them, and show the errors.

    Nothing is written but by --out and --write.
    """
    if silicon is None and memory is None:
        raise InvalidValue("validate", None, "give measurements by --silicon or --memory")
    if out is not None and silicon is None:
        raise InvalidValue("out", out, "it needs --silicon")
    needs_scipy("validate")
    found = _compare(silicon, memory)
    if out is not None and found.latency is not None:
        _write_details(out, found.latency)
    if write:
        _write_docs(found)
    if as_json:
        write_json(_json(found))
        return ANSWERED
    show(lambda _: _view(found))
    return ANSWERED


def _compare(silicon: Path | None, memory: Path | None) -> _Checked:
    from fitcalc.calibrate.accuracy_page import sheets
    from fitcalc.calibrate.memory_page import errors_of, memory_sheet
    from fitcalc.calibrate.runs import read_runs
    from fitcalc.calibrate.starts import read_starts
    from fitcalc.calibrate.validate import validate as compare

    latency, logs, made = None, None, []
    if silicon is not None:
        with reading("silicon", silicon), progress("simulating runs") as told:
            latency = compare(read_runs(silicon), told)
            made = sheets(latency)
    if memory is not None:
        with reading("memory", memory):
            logs = errors_of(read_starts(memory / "startup.csv"))
    return _Checked(latency, logs, made, memory_sheet(logs) if logs else None)


def _write_details(out: Path, latency: Validation) -> None:
    from fitcalc.calibrate.accuracy_page import details_csv, runs_csv
    from fitcalc.calibrate.rebuild import write

    out.mkdir(parents=True, exist_ok=True)
    write(out / "accuracy.csv", details_csv(latency))
    write(out / "runs.csv", runs_csv(latency))


def _write_docs(found: _Checked) -> None:
    from fitcalc.calibrate.accuracy_page import details_csv, page, renewed, runs_csv
    from fitcalc.calibrate.intervals import to_toml, widths
    from fitcalc.calibrate.memory_page import section
    from fitcalc.calibrate.rebuild import RESULTS, write

    docs = RESULTS.parents[1] / "docs"
    if not (docs / "accuracy.md").is_file():
        raise InvalidValue("write", docs, "run it in a checkout of fitcalc")
    if found.latency is not None and not found.latency.without:
        fix = "give --silicon runs of two models and two GPUs at least"
        raise InvalidValue("write", "one model or GPU", fix)
    text = None
    if found.latency is not None:
        text = page(found.sheets, len(found.latency.runs))
        write(docs / "accuracy.csv", details_csv(found.latency))
        write(RESULTS / "accuracy.toml", to_toml(widths(found.latency)))
        write(RESULTS / "runs.csv", runs_csv(found.latency))
    memory = None if found.memory is None else section(found.memory)
    old = (docs / "accuracy.md").read_text(encoding="utf-8")
    write(docs / "accuracy.md", renewed(old, text, memory))


def _json(found: _Checked) -> dict[str, object]:
    """Return the errors and intervals as numbers."""
    from fitcalc.calibrate.accuracy_tables import numbers

    said: dict[str, object] = {} if found.latency is None else numbers(found.latency)
    if found.memory is not None:
        said["memory"] = [{"start": start.name, "error": error} for start, error in found.memory]
    return said


def _view(found: _Checked) -> RenderableType:
    from rich.console import Group

    from fitcalc.report.parts import table

    views: list[RenderableType] = [_LEAD] if found.sheets else []
    for sheet in (*found.sheets, *([found.memory_sheet] if found.memory_sheet else [])):
        view = table(sheet.title, *sheet.head)
        for row in sheet.rows:
            view.add_row(*row)
        views.append(view)
    return Group(*views)
