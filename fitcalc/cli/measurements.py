"""Folders of measurements that a user names: mistakes in them are told as the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from fitcalc.errors import FitcalcError, InvalidValue, TableError


def needs_scipy(command: str) -> None:
    """Refuse where the library that fits is not installed.

    Raises:
        InvalidValue: it is not.
    """
    if find_spec("scipy") is None:
        fix = "install scipy with pip install 'fitcalc[calibrate]'"
        raise InvalidValue(command, "scipy", fix)


@contextmanager
def reading(field: str, folder: Path) -> Iterator[None]:
    """Read a folder of measurements, whose mistakes are the user's to mend.

    Raises:
        FitcalcError: a file or a column is missing, or a figure makes no sense.
    """
    if not folder.is_dir():
        raise InvalidValue(field, folder, "give a folder of measurements")
    try:
        yield
    except TableError as error:
        raise FitcalcError(str(error)) from None
    except FitcalcError:
        raise
    except ValueError as error:
        raise InvalidValue(field, folder, f"mend the figure in it ({error})") from None
