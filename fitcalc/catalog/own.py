"""A user's own calibration: a folder that is read on top of the shipped tables.

``FITCALC_CALIBRATION`` names it (``--calibration`` sets it). ``results/<gpu>.toml`` holds fitted
coefficients as ``calibration/results`` does, and goes before those; ``gpus/<gpu>.toml`` holds a
device that hardware_db does not have. ``fitcalc calibrate`` writes both.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from fitcalc.catalog.tables import Toml
from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.units import TO_BASE

VARIABLE = "FITCALC_CALIBRATION"
COUNTS = {"rows": "1", "tokens": "1"}
"""Units of a results table beside those of ``units``: they count."""
_CELLS = {"value", "standard_error", "n", "residual", "engine", "peak"}
_NEEDED = ("value", "standard_error", "n", "residual", "engine")


def own_folder() -> Path | None:
    """Return the user's folder, or None where nobody named one.

    Raises:
        InvalidValue: there is no such folder, or it holds no calibration.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not (folder / "results").is_dir() and not (folder / "gpus").is_dir():
        fix = "give the folder that fitcalc calibrate wrote; it holds results/<gpu>.toml"
        raise InvalidValue("calibration", named, fix)
    return folder


@contextmanager
def calibration(folder: str | Path | None) -> Iterator[None]:
    """Plan with a calibration folder, or with the shipped tables alone, for a while."""
    before = os.environ.get(VARIABLE)
    _set(None if folder is None else str(folder))
    try:
        yield
    finally:
        _set(before)


def _set(folder: str | None) -> None:
    if folder is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = folder


def own_ids(folder: Path | None, kind: str) -> tuple[str, ...]:
    """Return the ids that the folder's ``gpus`` or ``results`` hold, sorted."""
    return () if folder is None else tuple(sorted(p.stem for p in folder.glob(f"{kind}/*.toml")))


def read_own(path: Path) -> Toml:
    """Read a table of the user's.

    Raises:
        FitcalcError: it is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(path, f"cannot be read: {str(error).rstrip('.')}") from None


def own_results(path: Path, coefficients: Mapping[str, Sequence[str]]) -> Toml:
    """Read fitted results, every cell of them checked.

    Args:
        path: The file.
        coefficients: Names of each law that may stand there.

    Raises:
        FitcalcError: a law or coefficient is unknown, or a cell is missing or no number.
    """
    table = read_own(path)
    if not table.get("source"):
        raise _wrong(path, "has no source; say who measured it and when")
    laws = {law: cells for law, cells in table.items() if law not in {"gpu", "source"}}
    for law, cells in laws.items():
        if law not in coefficients:
            raise _wrong(path, f"has the unknown law {law!r}; known: {', '.join(coefficients)}")
        if not isinstance(cells, Mapping):
            raise _wrong(path, f"has no table {law}")
        _check_law(path, law, cast("Toml", cells), coefficients[law])
    return table


def _check_law(path: Path, law: str, cells: Toml, names: Sequence[str]) -> None:
    given, units = cells.get("coefficients"), cells.get("units")
    if not isinstance(given, list) or sorted(map(str, given)) != sorted(names):
        raise _wrong(path, f"{law}.coefficients must be {', '.join(names)}")
    if not isinstance(units, list) or len(units) != len(given):
        raise _wrong(path, f"{law}.units must give one unit a coefficient")
    unknown = [unit for unit in units if unit not in TO_BASE and unit not in COUNTS]
    if unknown:
        raise _wrong(path, f"{law}.units has the unknown unit {unknown[0]!r}")
    for key, row in cells.items():
        if key not in {"coefficients", "units"}:
            _check_row(path, f"{law}.{key}", row, len(given))


def _check_row(path: Path, where: str, row: object, count: int) -> None:
    if not isinstance(row, Mapping):
        raise _wrong(path, f"{where} must be a table of {', '.join(_NEEDED)}")
    missing = [cell for cell in _NEEDED if cell not in row]
    unknown = sorted(set(row) - _CELLS)
    if missing or unknown:
        what = f"has no {missing[0]}" if missing else f"has the unknown cell {unknown[0]!r}"
        raise _wrong(path, f"{where} {what}")
    for cell, length in (("value", count), ("standard_error", count), ("residual", 3)):
        numbers = row[cell]
        if not isinstance(numbers, list) or len(numbers) != length:
            raise _wrong(path, f"{where}.{cell} must be a list of {length} numbers")
        bad = [n for n in numbers if not _fine(n, may_be_nan=cell == "standard_error")]
        if bad:
            raise _wrong(path, f"{where}.{cell} holds {bad[0]!r}; give numbers from 0")
    if not isinstance(row["n"], int) or isinstance(row["n"], bool) or row["n"] < 1:
        raise _wrong(path, f"{where}.n must count the measurements")


def _fine(value: object, *, may_be_nan: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (may_be_nan and math.isnan(value)) or (math.isfinite(value) and value >= 0)


def _wrong(path: Path, what: str) -> FitcalcError:
    return FitcalcError(f"calibration {path}: {what}.")
