"""Which figures an answer was made with: one short fingerprint of all tables."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

from fitcalc.catalog.own import own_folder
from fitcalc.catalog.tables import root

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_FOLDERS = {
    "gpus": ("hardware_db",),
    "models": ("models_db",),
    "coefficients": ("calibration", "results"),
}
_TABLES = tuple(_FOLDERS.values())
_PRICES = ("prices.toml", "api_prices.toml")
"""Tables beside the others that only money depends on."""
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


def fingerprints() -> dict[str, str]:
    """Return what an answer was made with: fitcalc's version, and a digest of each kind of table.

    Raises:
        InvalidValue: the user's folder is none.

    Examples:
        >>> list(fingerprints())
        ['fitcalc', 'gpus', 'models', 'prices', 'coefficients']
    """
    own = own_folder()
    mine = {} if own is None else {"own calibration": _digest(own)[:_DIGITS]}
    return {**_groups(), **mine}


@cache
def _groups() -> dict[str, str]:
    """Digest the shipped tables by what they hold."""
    found = {name: root().joinpath(*parts) for name, parts in _FOLDERS.items()}
    digests = {name: _digest(folder, skip=_PRICES)[:_DIGITS] for name, folder in found.items()}
    prices = sha256()
    for folder in found.values():
        for entry in sorted(folder.iterdir(), key=lambda one: one.name):
            if entry.name in _PRICES:
                prices.update(entry.read_bytes())
    return {
        "fitcalc": version("fitcalc"),
        "gpus": digests["gpus"],
        "models": digests["models"],
        "prices": prices.hexdigest()[:_DIGITS],
        "coefficients": digests["coefficients"],
    }


@cache
def _shipped() -> str:
    digests = (_digest(root().joinpath(*parts)) for parts in _TABLES)
    return " ".join((version("fitcalc"), *digests))


def _digest(folder: Traversable, *, skip: Collection[str] = ()) -> str:
    """Digest the TOML files under a folder, by name and content."""
    made = sha256()
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name in skip:
            continue
        if entry.is_dir():
            made.update(f"{entry.name}/{_digest(entry)}".encode())
        elif entry.name.endswith(".toml"):
            made.update(entry.name.encode())
            made.update(sha256(entry.read_bytes()).digest())
    return made.hexdigest()
