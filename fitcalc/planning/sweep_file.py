"""The file of a sweep: one JSON line a scenario, written as answers come, read to go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from fitcalc.errors import InvalidValue
from fitcalc.planning.swept import SweepRow

_OPENING = b'{"key":"'
"""How every line starts."""


@dataclass(slots=True)
class SweepFile:
    """An open file of a sweep.

    Attributes:
        path: Where it is.
        done: Rows that it holds, by key.
        file: Open for appending; every row is flushed.
    """

    path: Path
    done: dict[str, SweepRow]
    file: BinaryIO

    @classmethod
    @contextmanager
    def opened(cls, path: Path, keys: Sequence[str], tables: str) -> Iterator[Self]:
        """Open a file to go on with a sweep; a half-written last line is dropped.

        At the end of a sweep that was not interrupted the rows stand in the order of ``keys``.

        Args:
            path: The file; made where there is none.
            keys: Scenarios of the sweep, in order.
            tables: Fingerprint of the tables that answer.

        Raises:
            InvalidValue: it cannot be written, or holds something else.
        """
        with _usable(path):
            found = path.read_bytes() if path.exists() else b""
            done, size = _read(path, found, set(keys), tables)
            file = path.open("ab")
            file.truncate(size)
        with file:
            yield cls(path, done, file)
        with _usable(path):
            _in_order(path, keys)

    def add(self, row: SweepRow) -> None:
        """Write one row; it is kept whatever happens next.

        Raises:
            InvalidValue: there is no room for it.
        """
        with _usable(self.path):
            self.file.write(f"{row.model_dump_json()}\n".encode())
            self.file.flush()
        self.done[row.key] = row


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidValue("out", path, f"it cannot be used: {error.strerror}") from None


def _read(path: Path, found: bytes, keys: set[str], tables: str) -> tuple[dict[str, SweepRow], int]:
    """Return the rows of a file by key, and how many of its bytes are whole lines."""
    size = found.rfind(b"\n") + 1
    half = found[size:]
    if not half.startswith(_OPENING[: len(half)]):
        raise _other(path)
    done: dict[str, SweepRow] = {}
    for line in found[:size].splitlines():
        key, made_with = _head(path, line)
        if made_with != tables:
            fix = "its rows are of other tables or another version of fitcalc; name a new file"
            raise InvalidValue("out", path, fix)
        if key not in keys:
            raise InvalidValue("out", path, "it holds rows of another sweep; name a new file")
        try:
            done[key] = SweepRow.model_validate_json(line)
        except ValidationError:  # numbers that JSON does not have: ask again
            continue
    return done, size


def _head(path: Path, line: bytes) -> tuple[str, str]:
    try:
        cells = json.loads(line)
        return str(cells["key"]), str(cells["tables"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _other(path) from None


def _other(path: Path) -> InvalidValue:
    return InvalidValue("out", path, "it is not a file of a sweep; name a new file")


def _in_order(path: Path, keys: Sequence[str]) -> None:
    """Put the last line of every key in the order of the keys."""
    lines = {str(json.loads(line)["key"]): line for line in path.read_bytes().splitlines()}
    wanted = b"".join(lines[key] + b"\n" for key in dict.fromkeys(keys) if key in lines)
    if wanted == path.read_bytes():
        return
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(wanted)
    os.replace(part, path)  # noqa: PTH105 - at once, or not at all
