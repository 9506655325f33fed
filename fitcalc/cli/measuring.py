"""Measure the device at hand, row by row into a folder of its own, and fit what stands there."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fitcalc.cli.answer import ANSWERED, show, write_json
from fitcalc.cli.own_fit import fitted_or_why, view
from fitcalc.cli.progress import progress
from fitcalc.errors import InvalidValue
from fitcalc.units import is_finite_positive

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fitcalc.calibrate.bench.device import Device
    from fitcalc.calibrate.bench.suite import Outcome

FOLDER = Path("fitcalc-calibration")
MINUTES = 5.0
SECONDS_PER_MINUTE = 60.0


def measure_device(
    name: str, out: Path | None, minutes: float, only: Sequence[str], *, as_json: bool
) -> int:
    """Measure what the device's folder lacks, say what stands in it, and fit it."""
    if not is_finite_positive(minutes):
        raise InvalidValue("minutes", minutes, "give a time above 0")
    if find_spec("torch") is None:
        raise InvalidValue("device", name, "install torch with pip install 'fitcalc[gpu]'")
    from fitcalc.calibrate.bench.device import open_device

    device = open_device(name)
    folder = out or FOLDER / device.system
    outcome = _measure(device, folder, minutes * SECONDS_PER_MINUTE, only)
    found, why = fitted_or_why(folder)
    if as_json:
        part = _part(device, folder, outcome)
        fit = None if found is None else found.model_dump(mode="json")
        write_json({**part, "not_fitted": why or None, "calibration": fit})
    else:
        from rich.console import Group

        show(lambda width: Group(_view(device, folder, outcome), "",
                                 why if found is None else view(found, width)))  # fmt: skip
    return ANSWERED


def _measure(device: Device, folder: Path, budget_s: float, only: Sequence[str]) -> Outcome:
    """Measure with a bar; whoever interrupts is told what stands and how to go on."""
    from fitcalc.calibrate.bench.suite import measure

    begun = time.monotonic()
    try:
        with progress(f"measuring {device.system}") as told:

            def hear(table: str, done: int, total: int) -> None:
                del table
                spent = (time.monotonic() - begun) / budget_s
                if told is not None:
                    told(min(1.0, max(spent, done / max(total, 1))))

            return measure(device, folder, budget_s=budget_s, only=only, progress=hear)
    except KeyboardInterrupt:
        print(f"interrupted: {_standing(folder)}", file=sys.stderr)  # noqa: T201
        raise


def _standing(folder: Path) -> str:
    from fitcalc.calibrate.bench.rows import COLUMNS, Rows

    rows = Rows(folder)
    count = sum(rows.count(table) for table in COLUMNS)
    return f"{count:,} rows stand in {folder}; the same command goes on from there."


def _part(device: Device, folder: Path, outcome: Outcome) -> dict[str, object]:
    return {
        "device": dict(device.facts), "folder": str(folder), "measured": outcome.measured,
        "standing": outcome.standing, "left": outcome.left, "notes": list(outcome.notes),
    }  # fmt: skip


def _view(device: Device, folder: Path, outcome: Outcome) -> RenderableType:
    from rich.console import Group

    from fitcalc.calibrate.bench.rows import COLUMNS, Rows
    from fitcalc.report.parts import table

    made = table("", "table", "rows")
    rows = Rows(folder)
    for name in COLUMNS:
        if count := rows.count(name):
            made.add_row(f"{name}.csv", f"{count:,}")
    words = [f"{outcome.measured:,} rows added to {folder}, {outcome.standing:,} stood already."]
    if outcome.left:
        words.append(f"{outcome.left:,} rows had no time: the same command measures them.")
    words += [f"Not measured: {note}." for note in outcome.notes]
    return Group(f"{device.facts['name']} ({device.facts['source']})", made, *words)
