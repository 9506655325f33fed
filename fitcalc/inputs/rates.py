"""Rates of requests that change over time, and the lengths that go with them."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.units import Array

_HOUR = 3600.0
_MOST_HOURS = 366 * 24
_RATE_COLUMNS = (("time_s", "rate"), ("time", "rate"), ("window_start_s", "total_rate_rps"))
_DAY = (
    0.55, 0.45, 0.38, 0.33, 0.31, 0.33, 0.40, 0.55, 0.80, 1.10, 1.32, 1.42,
    1.38, 1.42, 1.50, 1.52, 1.48, 1.40, 1.32, 1.30, 1.32, 1.25, 1.02, 0.75,
)  # fmt: skip
"""An office day by the hour, the mean at 1: a night of a third, two humps about noon. [1]"""
_WEEK = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5)
"""An office week by the day, Monday first: half as much at the weekend. [1]"""
SHAPES = ("day", "week")
"""Shapes that have a name."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """A rate that is constant between moments.

    Attributes:
        start_s: When each rate begins, the first at 0 s. [s]
        per_s: Requests a second from then on. [1/s]
        end_s: When the last one ends; the profile then starts anew. [s]
    """

    start_s: Array
    per_s: Array
    end_s: float

    def __post_init__(self) -> None:
        """Check that time rises and somebody comes.

        Raises:
            InvalidValue: times that fall, a rate below 0, or no rate above it.
        """
        ends = np.append(self.start_s, self.end_s)
        if not (len(self.start_s) and self.start_s[0] == 0.0 and (np.diff(ends) > 0).all()):
            raise InvalidValue("rates", "times", "give rising times, the first at 0 s")
        if not (np.isfinite(self.per_s).all() and self.per_s.min() >= 0 and self.per_s.max() > 0):
            raise InvalidValue("rates", "rates", "give finite rates of 0 or more, one above 0")

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a CSV, gzipped or not: ``time,rate`` or ServeGen's windows.

        Raises:
            InvalidValue: the file cannot be read, or names the row that is wrong.
        """
        path = Path(path)
        rows = _rows(path, "rates")
        for time, rate in _RATE_COLUMNS:
            if rows and {time, rate} <= rows[0].keys():
                start = np.array([_number(path, i, row, time) for i, row in enumerate(rows, 2)])
                per_s = np.array([_number(path, i, row, rate) for i, row in enumerate(rows, 2)])
                last = float(start[-1] - start[-2]) if len(start) > 1 else _HOUR
                return cls(start - start[0], per_s, float(start[-1] - start[0]) + last)
        raise InvalidValue("rates", path.name, "give a CSV with columns time_s, rate and a row")

    @classmethod
    def day(cls, mean_per_s: float) -> Self:
        """Return an office day of 24 hours with this mean. [1/s]"""
        shape = np.array(_DAY, dtype=np.float64) * (len(_DAY) / sum(_DAY))
        hours = np.arange(24, dtype=np.float64)
        return cls(hours * _HOUR, shape * mean_per_s, 24 * _HOUR)

    @classmethod
    def week(cls, mean_per_s: float) -> Self:
        """Return an office week of 168 hours with this mean. [1/s]"""
        shape = np.outer(_WEEK, _DAY).ravel()
        hours = np.arange(len(shape), dtype=np.float64)
        end_s = len(shape) * _HOUR
        return cls(hours * _HOUR, shape * (mean_per_s / shape.mean()), end_s)

    @classmethod
    def named(cls, name: str | Path, mean_per_s: float = 1.0) -> Self:
        """Return a named shape (``day``, ``week``) with this mean, or a file's rates as they are.

        Raises:
            InvalidValue: neither a shape nor a file.
        """
        if name == "day":
            return cls.day(mean_per_s)
        return cls.week(mean_per_s) if name == "week" else cls.read(name)

    @classmethod
    def counted(cls, arrival_s: Array) -> Self:
        """Return the rates of the whole hours of some arrivals, the first at 0 s.

        Raises:
            InvalidValue: they last less than an hour, or longer than a year.
        """
        hours = float(arrival_s[-1]) // _HOUR
        if not 1 <= hours <= _MOST_HOURS:
            fix = "give arrivals over 1 hour to 1 year"
            raise InvalidValue("rates", f"{arrival_s[-1]:,.4g} s", fix)
        edges = np.arange(hours + 1) * _HOUR
        counts, _ = np.histogram(arrival_s[arrival_s < edges[-1]], edges)
        return cls(edges[:-1], counts / _HOUR, float(edges[-1]))

    @property
    def mean_per_s(self) -> float:
        """Mean rate. [1/s]"""
        lasting = np.diff(np.append(self.start_s, self.end_s))
        return float(self.per_s @ lasting / self.end_s)

    @property
    def peak_to_mean(self) -> float:
        """Highest rate over the mean. [1]"""
        return float(self.per_s.max()) / self.mean_per_s

    def scaled(self, mean_per_s: float) -> Rates:
        """Return the same shape with another mean. [1/s]"""
        return Rates(self.start_s, self.per_s * (mean_per_s / self.mean_per_s), self.end_s)

    def arrivals_s(self, rng: np.random.Generator, count: int, burstiness: float = 1.0) -> Array:
        """Draw the first ``count`` arrivals: gaps of mean 1 in units of requests expected. [s]

        A Poisson process at burstiness 1, by inverting the expected count over time.
        """
        expected = np.cumsum(rng.gamma(burstiness, 1.0 / burstiness, count))
        ends = np.append(self.start_s, self.end_s)
        reached = np.concatenate(([0.0], np.cumsum(self.per_s * np.diff(ends))))
        rounds, inside = np.divmod(expected, reached[-1])
        window = np.searchsorted(reached, inside, side="right") - 1  # never one without a rate
        waited = (inside - reached[window]) / self.per_s[window]
        times: Array = rounds * self.end_s + ends[window] + waited
        return times


def read_lengths(path: Path | str) -> tuple[Lengths, Lengths]:
    """Read histograms of inputs and outputs: ``kind,tokens_bucket_upper,probability``. [tokens]

    Raises:
        InvalidValue: the file cannot be read, or has no such rows.
    """
    path = Path(path)
    found: dict[str, list[tuple[float, float]]] = {"input": [], "output": []}
    for number, row in enumerate(_rows(path, "lengths"), 2):
        kind = row.get("kind", "")
        if kind not in found:
            raise InvalidValue(f"{path.name} row {number} kind", kind, "give input or output")
        tokens = _number(path, number, row, "tokens_bucket_upper")
        found[kind].append((max(tokens, 1.0), _number(path, number, row, "probability")))
    if not all(found.values()):
        raise InvalidValue("lengths", path.name, "give rows of kind input and of kind output")
    isl, osl = (
        Lengths.histogram(tuple(t for t, p in rows if p > 0), tuple(p for _, p in rows if p > 0))
        for rows in found.values()
    )
    return isl, osl


def _rows(path: Path, field: str) -> list[dict[str, str]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        return list(csv.DictReader(text.splitlines()))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is not a whole CSV"
        raise InvalidValue(field, path, f"the file cannot be read: {reason}") from None


def _number(path: Path, row_number: int, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        where = f"{path.name} row {row_number} column {column}"
        raise InvalidValue(where, row.get(column), "give a finite number")
    return value
