"""The tables: where they are, and how a figure with its unit and source is read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, cast

from fitcalc.errors import TableError
from fitcalc.units import to_base

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Toml = Mapping[str, object]


def root() -> Traversable:
    """Return the folder of the tables: in an installed wheel, or beside the package."""
    shipped = files("fitcalc") / "_data"
    return shipped if shipped.is_dir() else files("fitcalc") / ".."


def read_toml(*parts: str) -> Toml:
    """Read one table, such as ``read_toml("hardware_db", "gpus", "h200_sxm.toml")``.

    Raises:
        TableError: the file is missing or is not TOML.
    """
    path = root().joinpath(*parts)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        name = "/".join(parts)
        raise TableError(f"table {name} cannot be read: {error}.") from None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a table with its unit and source."""

    value: float
    unit: str
    source: str
    note: str = ""

    @property
    def base(self) -> float:
        """The value in base units."""
        return to_base(self.value, self.unit)


def figure(row: object, where: str, sources: Toml) -> Figure:
    """Read ``{ value = .., unit = "..", source = ".." }``; an uncited number does not load.

    Raises:
        TableError: value, unit or source is missing, or the source is not in ``[sources]``.
    """
    if not isinstance(row, Mapping):
        raise TableError(f"{where} must be a table with value, unit and source.")
    cells = cast("Toml", row)
    missing = [key for key in ("value", "unit", "source") if key not in cells]
    if missing:
        raise TableError(f"{where} has no {' and no '.join(missing)}: every figure is cited.")
    value, source = cells["value"], str(cells["source"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TableError(f"{where} has the value {value!r}, which is not a number.")
    if source not in sources:
        raise TableError(f"{where} cites {source!r}, which is not under [sources].")
    return Figure(float(value), str(cells["unit"]), source, str(cells.get("note", "")))
