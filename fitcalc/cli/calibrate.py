"""``fitcalc calibrate``: fit efficiencies to measured kernels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, show, write_json
from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("gpu", "law", "format", "engine", "n", "median_error", "p90_error")


def calibrate(
    *,
    from_tables: Annotated[
        Path, typer.Option(help="Folder of measurements; calibration/README.md has its form.")
    ],
    out: Annotated[Path, typer.Option(help="Folder the results are written to.")],
    as_json: opt.Json = False,
) -> int:
    """Fit every law of every measured GPU, write a table each, and show what stays unexplained."""
    if find_spec("scipy") is None:
        fix = "install it with pip install 'fitcalc[calibrate]'"
        raise InvalidValue("calibrate", "scipy", fix)
    if not from_tables.is_dir():
        raise InvalidValue("from_tables", from_tables, "give a folder of measurements")
    from fitcalc.calibrate.rebuild import rebuild

    rows = [
        (gpu, r.law, r.key, r.engine, r.fit.n, r.fit.error, r.fit.error_p90)
        for gpu, results in rebuild(from_tables, out).items()
        for r in results
    ]
    if as_json:
        write_json({"laws": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]})
    else:
        show(lambda _: _view(rows))
    return ANSWERED


def _view(rows: list[tuple[str, str, str, str, int, float, float]]) -> RenderableType:
    from fitcalc.report.parts import table

    made = table("", "GPU", "law", "format", "engine", "n", "median error", "p90")
    for gpu, law, key, engine, n, error, error_p90 in rows:
        made.add_row(gpu, law, key, engine, f"{n:,}", f"{error:.1%}", f"{error_p90:.1%}")
    return made
