"""Files of recorded requests: their columns as numbers, their mistakes by row."""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TypeVar

from fitcalc.errors import InvalidValue
from fitcalc.units import MAX_TOKENS, MILLI

T = TypeVar("T")
Row = Mapping[str, object]

_LONGEST_LINE = 1 << 20
"""Characters of a line beyond which a file is no trace. [1]"""
_INT64 = 1 << 63
_OPTIONAL = ("hash_ids", "priority", "session")


class Columns:
    """Requests of a file in its order, in arrays of machine numbers.

    Attributes:
        times_s: When each was sent, as the file counts. [s]
        isl, osl: Lengths. [tokens]
        hash_ids: Ids of each prompt's blocks; empty = no such column.
        priority, session: Whole numbers of each; empty = no such column.
        skipped: Rows passed over. [1]
    """

    def __init__(self) -> None:
        """Start with no request."""
        self.times_s = array("d")
        self.isl = array("q")
        self.osl = array("q")
        self.hash_ids: list[tuple[int, ...]] = []
        self.priority = array("q")
        self.session = array("q")
        self.skipped = 0

    def append(self, where: str, schema: _Schema, row: Row) -> InvalidValue | None:
        """Take a row; return what is wrong with one that makes no sense."""
        try:
            self._append(where, schema, row)
        except InvalidValue as wrong:
            return wrong
        return None

    def _append(self, where: str, schema: _Schema, row: Row) -> None:
        time_s = _parse(where, schema.time, row, schema.seconds, _TIME)
        isl = _parse(where, schema.isl, row, _tokens, _TOKENS)
        osl = _parse(where, schema.osl, row, _tokens, _TOKENS)
        if self.times_s and time_s < self.times_s[-1]:
            fix = "sort the rows by time, as they were sent"
            raise InvalidValue(f"{where} column {schema.time}", row[schema.time], fix)
        hashes = rank = session = None
        if "hash_ids" in schema.more:
            hashes = _parse(where, "hash_ids", row, _ids, "give whole numbers of 0 or above")
        if "priority" in schema.more:
            rank = _parse(where, "priority", row, _whole, "give a whole number")
        if "session" in schema.more:
            session = _parse(where, "session", row, _whole, "give a whole number")
        self.times_s.append(time_s)
        self.isl.append(isl)
        self.osl.append(osl)
        if hashes is not None:
            self.hash_ids.append(hashes)
        if rank is not None:
            self.priority.append(rank)
        if session is not None:
            self.session.append(session)


def read_columns(path: Path, *, skip_bad: bool) -> Columns:
    """Read a ``.csv`` or ``.jsonl`` file, gzipped or not, row by row.

    Args:
        path: The file.
        skip_bad: Whether to pass over rows that make no sense, and count them.

    Raises:
        InvalidValue: the file cannot be read to its end, or a row makes no sense.
    """
    columns, number = Columns(), 0
    try:
        with _open(path) as file:
            schema: _Schema | None = None
            for number, row in _rows(path, file):
                where = f"{path.name} row {number}"
                bad = row if isinstance(row, InvalidValue) else None
                if not isinstance(row, InvalidValue):
                    schema = schema or _schema(where, row)
                    bad = columns.append(where, schema, row)
                if bad is not None and not skip_bad:
                    raise bad
                columns.skipped += bad is not None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        fix = f"the file cannot be read after row {number}: {_reason(error)}"
        raise InvalidValue("trace", path, fix) from None
    if not columns.times_s:
        raise InvalidValue("trace", path.name, "give a file with at least one request")
    return columns


def _reason(error: Exception) -> str:
    match error:
        case EOFError() | zlib.error() | gzip.BadGzipFile():
            return "it is no whole gzip file"
        case UnicodeDecodeError():
            return "it is not text"
        case OSError():
            return error.strerror or "it is no file"
        case _:
            return str(error)


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Each line, none so long that it fills memory."""
    number = 1
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            fix = f"give rows below {_LONGEST_LINE:,} characters"
            raise InvalidValue(f"{path.name} row {number}", line[:20], fix)
        yield line
        number += 1


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row | InvalidValue]]:
    """Each row with the number of its line, or what is wrong with it as a whole."""
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl"):
        raise InvalidValue("trace", path, "give a .csv or .jsonl file, gzipped or not")
    lines = _lines(path, file)
    return _csv_rows(path, lines) if kind == ".csv" else _json_rows(path, lines)


def _csv_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row | InvalidValue]]:
    reader = csv.reader(lines)
    header = next(reader, [])
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            said = f"{len(fields)} fields"
            where = f"{path.name} row {reader.line_num}"
            yield reader.line_num, InvalidValue(where, said, f"give {len(header)} as in row 1")
        else:
            yield reader.line_num, dict(zip(header, fields, strict=True))


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row | InvalidValue]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            where = f"{path.name} row {number}"
            yield number, InvalidValue(where, line.strip(), "give one JSON object")


@dataclass(frozen=True, slots=True)
class _Schema:
    """Names of one publisher's columns, and how its times are read."""

    time: str
    isl: str
    osl: str
    seconds: Callable[[object], float]
    more: tuple[str, ...] = ()


def _schema(where: str, row: Row) -> _Schema:
    for known in _SCHEMAS:
        if {known.time, known.isl, known.osl} <= row.keys():
            more = tuple(name for name in _OPTIONAL if name in row)
            return _Schema(known.time, known.isl, known.osl, known.seconds, more)
    wanted = " or ".join(f"{s.time}, {s.isl}, {s.osl}" for s in _SCHEMAS)
    found = ", ".join(map(str, row)) or "none"
    raise InvalidValue(f"columns of {where}", found, f"give {wanted}")


def _parse(where: str, column: str, row: Row, read: Callable[[object], T], fix: str) -> T:
    value = row.get(column)
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValue(f"{where} column {column}", value, fix) from None


_TIME = "give a finite time of 0 or later"
_TOKENS = "give a whole number of tokens above 0"


def _tokens(value: object) -> int:
    count = float(str(value))
    if not (1 <= count <= MAX_TOKENS and count.is_integer()):
        raise ValueError
    return int(count)


def _ids(value: object) -> tuple[int, ...]:
    parts = value if isinstance(value, list) else str(value).split()
    ids = tuple(int(str(part)) for part in parts)
    if ids and min(ids) < 0:
        raise ValueError
    return ids


def _whole(value: object) -> int:
    number = int(str(value))
    if not -_INT64 <= number < _INT64:
        raise ValueError
    return number


def _seconds(value: object) -> float:
    seconds = float(str(value))
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError
    return seconds


def _milliseconds(value: object) -> float:
    return _seconds(value) * MILLI


def _timestamp(value: object) -> float:
    """Seconds of a date such as ``2023-11-16 18:15:46.6805900``, to the last digit."""
    whole, _, rest = str(value).strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    stamp = datetime.fromisoformat(whole + rest[len(digits) :])
    epoch = datetime(1970, 1, 1, tzinfo=stamp.tzinfo)
    return (stamp - epoch).total_seconds() + (float(f"0.{digits}") if digits else 0.0)


_SCHEMAS = (
    _Schema("arrival_s", "input_tokens", "output_tokens", _seconds),
    _Schema("TIMESTAMP", "ContextTokens", "GeneratedTokens", _timestamp),
    _Schema("timestamp", "input_length", "output_length", _milliseconds),
)
