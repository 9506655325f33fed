"""A visitor's own prices: read as data in a folder of its own, then forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.planning.choice import Plan
from fitcalc.units import KIB

NAME: Final = "prices.toml"
"""What the file is called in the lines to copy, whatever the visitor calls it."""
_MOST_BYTES: Final = int(256 * KIB)


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """The text of a price table."""

    text: str

    @contextmanager
    def saved(self) -> Iterator[Path]:
        """Keep the table in a folder while it is read; complaints do not name the folder."""
        with TemporaryDirectory() as folder:
            path = Path(folder, NAME)
            path.write_text(self.text, encoding="utf-8")
            try:
                yield path
            except FitcalcError as error:
                raise FitcalcError(str(error).replace(str(path), NAME)) from None


def own_prices(data: bytes) -> OwnPrices:
    """Take an uploaded price table.

    Raises:
        InvalidValue: too large, or no text.
    """
    if len(data) > _MOST_BYTES:
        raise InvalidValue("prices", "a large file", f"give at most {_MOST_BYTES / KIB:.0f} KiB")
    try:
        return OwnPrices(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidValue("prices", "a binary file", "give a TOML file (docs/money.md)") from None


def without_folder(found: Plan, path: Path) -> Plan:
    """Name the table in a plan as the visitor knows it."""
    return Plan.model_validate_json(found.model_dump_json().replace(str(path), NAME))
