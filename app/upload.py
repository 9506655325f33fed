"""A visitor's file: small, read as data in a folder of its own, then forgotten."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fitcalc import Trace
from fitcalc.errors import InvalidValue
from fitcalc.units import MIB

SUFFIXES: Final = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")
MOST_BYTES: Final = int(20 * MIB)
"""Of a file as it is sent. [B]"""
_MOST_UNPACKED: Final = int(100 * MIB)
"""Of its text. [B]"""
MOST_ROWS: Final = 250_000
"""That are read of a file. [1]"""


def read_trace(name: str, data: bytes, *, skip_bad: bool) -> Trace:
    """Read the requests of an uploaded file, the first ``MOST_ROWS`` of them.

    Args:
        name: What the visitor calls it; only its ending counts.
        data: Its content.
        skip_bad: Whether to pass over rows that make no sense.

    Raises:
        InvalidValue: too large, or no trace; the message is one sentence.
    """
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), "")
    if not suffix:
        raise InvalidValue("trace", name[-40:], f"give a file that ends in {', '.join(SUFFIXES)}")
    if len(data) > MOST_BYTES:
        raise InvalidValue("trace", name[-40:], f"give at most {MOST_BYTES / MIB:.0f} MiB")
    text = _unpacked(data) if suffix.endswith(".gz") else data
    with TemporaryDirectory() as folder:
        path = Path(folder, f"upload{suffix.removesuffix('.gz')}")
        path.write_bytes(_first_rows(_lines(name, text), MOST_ROWS + 1))  # a CSV has a header
        return Trace.read(path, skip_bad=skip_bad)


def _lines(name: str, data: bytes) -> bytes:
    """Return text whose lines end alike."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue("trace", name[-40:], "it is not text; give UTF-8") from None
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _first_rows(text: bytes, rows: int) -> bytes:
    end = -1
    for _ in range(rows):
        end = text.find(b"\n", end + 1)
        if end < 0:
            return text
    return text[: end + 1]


def _unpacked(data: bytes) -> bytes:
    try:
        with gzip.open(BytesIO(data)) as file:
            text = file.read(_MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error):
        raise InvalidValue("trace", "a broken gzip", "pack the file anew") from None
    if len(text) > _MOST_UNPACKED:
        fix = f"give at most {_MOST_UNPACKED / MIB:.0f} MiB of text"
        raise InvalidValue("trace", "too large unpacked", fix)
    return text
