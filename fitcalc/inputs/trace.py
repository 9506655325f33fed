"""A trace: when each request came, and how long it was."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import MAX_TOKENS, MILLI, Array

Tokens = NDArray[np.int64]
T = TypeVar("T")
HASH_BLOCK_TOKENS = 512
"""Tokens that one prefix hash id stands for in Mooncake's traces (its README)."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in order of arrival, the first at 0 s.

    Attributes:
        arrival_s: When a request is sent. [s]
        isl: Its input sequence length. [tokens]
        osl: Its output sequence length. [tokens]
        hash_ids: Ids of its prompt's blocks of ``hash_block_tokens``; equal leading ids are
            equal text. ``None`` where the prompts share nothing that is known.
        hash_block_tokens: Tokens of one hashed block. [tokens]
        priority: vLLM's priority, lower runs first; ``None`` = all alike.
        session: Conversation that each request belongs to; ``None`` = not known.
        kind: Which of several classes of traffic each request is of; ``None`` = one class.
        skipped: Rows of the file that were passed over because they make no sense. [1]
    """

    arrival_s: Array
    isl: Tokens
    osl: Tokens
    hash_ids: tuple[tuple[int, ...], ...] | None = None
    hash_block_tokens: int = HASH_BLOCK_TOKENS
    priority: Tokens | None = None
    session: Tokens | None = None
    kind: Tokens | None = None
    skipped: int = 0

    def __post_init__(self) -> None:
        """Check the arrays against each other.

        Raises:
            InvalidValue: no request, arrays of unequal length, times that fall, or no tokens.
        """
        count = len(self.arrival_s)
        if count == 0:
            raise InvalidValue("trace", "empty", "give at least one request")
        hashed = count if self.hash_ids is None else len(self.hash_ids)
        if not (count == len(self.isl) == len(self.osl) == hashed):
            raise InvalidValue("trace", "columns", "give columns of one length")
        if not (np.isfinite(self.arrival_s).all() and (np.diff(self.arrival_s) >= 0).all()):
            raise InvalidValue("arrival_s", "unordered", "give finite times in rising order")
        if min(self.isl.min(), self.osl.min()) < 1:
            raise InvalidValue("trace", "0 tokens", "give lengths of at least one token")

    def __len__(self) -> int:
        """Count the requests. [1]"""
        return len(self.arrival_s)

    @property
    def span_s(self) -> float:
        """First to last arrival. [s]"""
        return float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def qps(self) -> float:
        """Mean rate of arrivals over the span; infinite when all come at once. [1/s]"""
        return (len(self) - 1) / self.span_s if self.span_s > 0 else math.inf

    @classmethod
    def read(cls, path: Path | str, *, skip_bad: bool = False) -> Self:
        """Read a ``.csv`` or ``.jsonl`` file, gzipped or not.

        Columns: ``arrival_s, input_tokens, output_tokens[, hash_ids]``; or Azure's ``TIMESTAMP,
        ContextTokens, GeneratedTokens``; or Mooncake's ``timestamp`` [ms] ``, input_length,
        output_length[, hash_ids]``. Besides, whole numbers ``priority`` and ``session``.

        Args:
            path: The file.
            skip_bad: Whether to pass over rows that make no sense, and count them.

        Raises:
            InvalidValue: the file cannot be read, or names the row and column that is wrong.
        """
        path = Path(path)
        try:
            with _open(path) as file:
                return cls._from_rows(path.name, _rows(path, file), skip_bad=skip_bad)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise InvalidValue("trace", path, f"the file cannot be read: {reason}") from None
        except csv.Error as error:
            raise InvalidValue("trace", path, f"mend the CSV: {error}") from None

    @classmethod
    def _from_rows(
        cls, name: str, rows: Iterator[tuple[int, Mapping[str, object]]], *, skip_bad: bool
    ) -> Self:
        columns = _Columns()
        schema: _Schema | None = None
        skipped = 0
        for number, row in rows:
            schema = schema or _schema(name, row)
            try:
                columns.append(f"{name} row {number} column", schema, row)
            except InvalidValue:
                if not skip_bad:
                    raise
                skipped += 1
        if not columns.times:
            raise InvalidValue("trace", name, "give a file with at least one request")
        order = np.argsort(np.asarray(columns.times), kind="stable")
        arrival_s = np.asarray(columns.times)[order]
        hashes = columns.optional(name, "hash_ids", columns.hashes)
        priority = columns.optional(name, "priority", columns.priority)
        session = columns.optional(name, "session", columns.session)
        return cls(
            arrival_s=arrival_s - arrival_s[0],
            isl=np.asarray(columns.isl, dtype=np.int64)[order],
            osl=np.asarray(columns.osl, dtype=np.int64)[order],
            hash_ids=None if hashes is None else tuple(hashes[i] for i in order),
            priority=None if priority is None else np.asarray(priority)[order],
            session=None if session is None else np.asarray(session)[order],
            skipped=skipped,
        )

    @classmethod
    def from_traffic(
        cls, traffic: Traffic, *, seed: int = 0, num_requests: int | None = None
    ) -> Self:
        """Draw requests: Gamma gaps for an open loop, all at 0 s for a closed one.

        Gaps have shape ``burstiness`` and mean 1/qps, as in vLLM's benchmarks/serve.py. Times,
        inputs and outputs come from streams of their own, so that another rate keeps the lengths.

        Args:
            traffic: The load.
            seed: Equal seeds draw equal requests.
            num_requests: Requests to draw; ``None`` = the traffic's own number.

        Raises:
            InvalidValue: neither says how many requests.
        """
        count = traffic.num_requests if num_requests is None else num_requests
        if count is None or count < 1:
            raise InvalidValue("num_requests", count, "give a number of requests above 0")
        streams = np.random.default_rng(seed).spawn(3)
        gaps = np.zeros(count)
        if traffic.qps is not None:
            scale = 1.0 / (traffic.qps * traffic.burstiness)
            gaps[1:] = streams[0].gamma(traffic.burstiness, scale, count - 1)
        return cls(
            arrival_s=np.cumsum(gaps),
            isl=traffic.isl.sample(streams[1], count),
            osl=traffic.osl.sample(streams[2], count),
        )

    def lengths(self) -> tuple[Lengths, Lengths]:
        """Histograms of inputs and outputs, for answers in closed form. [tokens]"""
        return _histogram(self.isl), _histogram(self.osl)

    def part(self, chosen: NDArray[np.int64]) -> Trace:
        """Return the requests at rising positions ``chosen``, their times kept."""
        hashes = self.hash_ids
        return Trace(
            arrival_s=self.arrival_s[chosen],
            isl=self.isl[chosen],
            osl=self.osl[chosen],
            hash_ids=None if hashes is None else tuple(hashes[i] for i in chosen),
            hash_block_tokens=self.hash_block_tokens,
            priority=None if self.priority is None else self.priority[chosen],
            session=None if self.session is None else self.session[chosen],
            kind=None if self.kind is None else self.kind[chosen],
        )


@dataclass(frozen=True, slots=True)
class _Schema:
    """Names of one publisher's columns, and how its times are read."""

    time: str
    isl: str
    osl: str
    seconds: Callable[[object], float]


class _Columns:
    """Rows of a file as columns."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.isl: list[int] = []
        self.osl: list[int] = []
        self.hashes: list[tuple[int, ...]] = []
        self.priority: list[int] = []
        self.session: list[int] = []

    def append(self, where: str, schema: _Schema, row: Mapping[str, object]) -> None:
        time = _parse(where, schema.time, row, schema.seconds)
        isl = _parse(where, schema.isl, row, _tokens)
        osl = _parse(where, schema.osl, row, _tokens)
        if "hash_ids" in row:
            self.hashes.append(_parse(where, "hash_ids", row, _ids))
        if "priority" in row:
            self.priority.append(_parse(where, "priority", row, _whole))
        if "session" in row:
            self.session.append(_parse(where, "session", row, _whole))
        self.times.append(time)
        self.isl.append(isl)
        self.osl.append(osl)

    def optional(self, name: str, column: str, values: list[T]) -> list[T] | None:
        """Return a column that every row has or none."""
        if values and len(values) != len(self.times):
            raise InvalidValue(f"{name} column {column}", "missing", "give it in every row")
        return values or None


def _histogram(lengths: Tokens) -> Lengths:
    values, counts = np.unique(lengths, return_counts=True)
    return Lengths.histogram(tuple(map(float, values)), tuple(map(float, counts)))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Each row with its number in the file, the first data row of a CSV being row 2."""
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl"):
        raise InvalidValue("trace", path, "give a .csv or .jsonl file, gzipped or not")
    if kind == ".csv":
        yield from enumerate(csv.DictReader(file), start=2)
        return
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise InvalidValue(f"{path.name} row {number}", line.strip(), "give one JSON object")
        yield number, row


def _schema(name: str, row: Mapping[str, object]) -> _Schema:
    for schema in _SCHEMAS:
        if {schema.time, schema.isl, schema.osl} <= row.keys():
            return schema
    wanted = " or ".join(f"{s.time}, {s.isl}, {s.osl}" for s in _SCHEMAS)
    found = ", ".join(map(str, row)) or "none"
    raise InvalidValue(f"{name} columns", found, f"give {wanted}")


def _parse(where: str, column: str, row: Mapping[str, object], read: Callable[[object], T]) -> T:
    value = row.get(column)
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        fix = "give a whole number of tokens above 0"
        if read in (_ids, _whole):
            fix = "give whole numbers, of a hash 0 or above"
        elif read is not _tokens:
            fix = "give a finite time"
        raise InvalidValue(f"{where} {column}", value, fix) from None


def _tokens(value: object) -> int:
    count = float(str(value))
    if not (1 <= count <= MAX_TOKENS and count.is_integer()):
        raise ValueError
    return int(count)


def _ids(value: object) -> tuple[int, ...]:
    ids = tuple(int(x) for x in (value if isinstance(value, list) else str(value).split()))
    if ids and min(ids) < 0:
        raise ValueError
    return ids


def _whole(value: object) -> int:
    return int(str(value))


def _seconds(value: object) -> float:
    seconds = float(str(value))
    if not math.isfinite(seconds):
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
