"""Files that are there in full or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fitcalc.errors import InvalidValue


@contextmanager
def whole_file(path: Path, option: str) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes its name when all is written.

    Args:
        path: The file.
        option: What names it in a complaint.

    Raises:
        InvalidValue: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        fix = f"the file cannot be written: {error.strerror or error}"
        raise InvalidValue(option, path, fix) from None
    finally:
        part.unlink(missing_ok=True)


def suffix_of(path: Path, known: tuple[str, ...], option: str) -> str:
    """Return the end of a file's name, which says its format.

    Raises:
        InvalidValue: no format that is known.
    """
    suffix = path.suffix.lower()
    if suffix not in known:
        raise InvalidValue(option, path, f"let it end in {', '.join(known)}")
    return suffix


def missing(option: str, path: Path, extra: str) -> InvalidValue:
    """Say which extra writes such a file."""
    return InvalidValue(option, path, f"install what writes it: pip install 'fitcalc[{extra}]'")
