"""Which figures an answer was made with: one short fingerprint of all tables."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

from fitcalc.catalog.own import own_folder
from fitcalc.catalog.tables import root

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TABLES = (("hardware_db",), ("models_db",), ("calibration", "results"))
_DIGITS = 12


def tables_version() -> str:
    """Return a fingerprint of fitcalc's version, its tables and the user's own calibration.

    Raises:
        InvalidValue: the user's folder is none.

    Examples:
        >>> tables_version() == tables_version(), len(tables_version())
        (True, 12)
    """
    own = own_folder()
    parts = [_shipped(), "" if own is None else _digest(own)]
    return sha256(" ".join(parts).encode()).hexdigest()[:_DIGITS]


@cache
def _shipped() -> str:
    digests = (_digest(root().joinpath(*parts)) for parts in _TABLES)
    return " ".join((version("fitcalc"), *digests))


def _digest(folder: Traversable) -> str:
    """Digest the TOML files under a folder, by name and content."""
    made = sha256()
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            made.update(f"{entry.name}/{_digest(entry)}".encode())
        elif entry.name.endswith(".toml"):
            made.update(entry.name.encode())
            made.update(sha256(entry.read_bytes()).digest())
    return made.hexdigest()
