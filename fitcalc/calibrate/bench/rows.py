"""Raw rows of measurements: CSV files that grow row by row and survive a killed run."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fitcalc.calibrate import tables
from fitcalc.errors import InvalidValue

Cell = str | int | float
Cells = Mapping[str, Cell]
Key = tuple[str, ...]

COLUMNS: Mapping[str, Sequence[str]] = {
    "bandwidth": tables.BANDWIDTH,
    "launch": tables.LAUNCH,
    "gemm": tables.GEMM,
    "attn_decode": tables.ATTENTION_DECODE,
    "attn_prefill": tables.ATTENTION_PREFILL,
    "elementwise": (*tables.ELEMENTWISE[:2], "op", *tables.ELEMENTWISE[2:]),
    "moe": tables.MOE,
    "allreduce": tables.COLLECTIVES,
    "stack": tables.STACK,
}
"""Columns of each table: what tells a row from another, and last the median latency."""

EXTRA = ("repeats", "spread", "replayed", "measured_at")
"""Behind them: timed samples, their (p90 - p10) / median, 1 = CUDA graph, time in UTC."""

UNITS = {
    "latency_ms": "ms", "latency_us": "us", "bytes": "B", "m": "rows", "ctx": "tokens",
    "isl": "tokens", "num_tokens": "tokens", "num_gpus": "GPUs", "measured_at": "UTC",
}  # fmt: skip
WORDS = frozenset(
    {"backend", "dtype", "kv_dtype", "moe_dtype", "distribution", "kernel", "op", "mode", "phase"}
)
_LINE = "\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """The timing of one call.

    Attributes:
        median_s: Median over the repeats. [s]
        spread: Percentile 90 less percentile 10, over the median. [1]
        repeats: Samples that were timed. [1]
        replayed: Whether the calls were replayed as one CUDA graph.
    """

    median_s: float
    spread: float
    repeats: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """A folder's tables and the keys of the rows that stand in them."""

    folder: Path
    _standing: dict[str, set[Key]] = field(default_factory=dict)

    def stands(self, table: str, cells: Cells) -> bool:
        """Whether a row with these cells is in the table."""
        return _key(table, cells) in self._keys(table)

    def count(self, table: str) -> int:
        """Rows of a table."""
        return len(self._keys(table))

    def append(self, table: str, cells: Cells, sample: Sample) -> None:
        """Write one row through to the disk, so that a killed run keeps it."""
        key = _key(table, cells)
        latency = COLUMNS[table][-1]
        scaled = sample.median_s / tables.SECONDS[latency]
        row = [*key, f"{scaled:.6g}", str(sample.repeats), f"{sample.spread:.4f}"]
        row += [str(int(sample.replayed)), datetime.now(UTC).isoformat(timespec="seconds")]
        path = self._path(table)
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator=_LINE)
            if new:
                names = (*COLUMNS[table], *EXTRA)
                writer.writerows([names, [unit(name) for name in names]])
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        self._keys(table).add(key)

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.csv"

    def _keys(self, table: str) -> set[Key]:
        if table not in self._standing:
            self._standing[table] = set(_read(self._path(table), COLUMNS[table]))
        return self._standing[table]


def unit(column: str) -> str:
    """Return the unit of a column; row 2 of a table holds them.

    Examples:
        >>> unit("system"), unit("latency_us"), unit("kv_dtype"), unit("k")
        ('unit', 'us', '-', '1')
    """
    if column == "system":
        return tables.UNIT_ROW
    return "-" if column in WORDS else UNITS.get(column, "1")


def _key(table: str, cells: Cells) -> Key:
    return tuple(str(cells[column]) for column in COLUMNS[table][:-1])


def _read(path: Path, columns: Sequence[str]) -> list[Key]:
    """Read the keys that stand; a last line that was cut off is dropped from the file.

    Raises:
        InvalidValue: the file has other columns.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind(_LINE) + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    lines = list(csv.reader(whole.splitlines()))
    if len(lines) < 2:  # the names without their units
        path.unlink()
        return []
    if lines[0] != [*columns, *EXTRA]:
        raise InvalidValue("out", path, "its columns are not those of this version; move it away")
    return [tuple(line[: len(columns) - 1]) for line in lines[2:]]
