"""Measurements: columns of numbers and words, read from CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import TableError
from fitcalc.units import MICRO, MILLI, Array

Mask = NDArray[np.bool_]

GEMM = ("system", "backend", "dtype", "m", "n", "k", "latency_ms")
ATTENTION_DECODE = (
    "system", "backend", "batch_size", "ctx", "num_heads", "kv_heads", "head_dim", "kv_dtype",
    "latency_us",
)  # fmt: skip
ATTENTION_PREFILL = (
    "system", "backend", "batch_size", "isl", "num_heads", "kv_heads", "head_dim", "kv_dtype",
    "latency_us",
)  # fmt: skip
MOE = (
    "system", "backend", "moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk",
    "num_experts", "moe_tp_size", "moe_ep_size", "distribution", "latency_us",
)  # fmt: skip
COLLECTIVES = ("system", "op", "kernel", "num_gpus", "bytes", "latency_us")
ELEMENTWISE = ("system", "backend", "bytes", "latency_us")
BANDWIDTH = ("system", "backend", "op", "bytes", "latency_us")
"""``op`` read or copy; bytes read and written."""
LAUNCH = ("system", "backend", "mode", "kernels", "latency_us")
"""``mode`` eager or graph; the latency is that of all kernels together."""
STACK = (
    "system", "backend", "dtype", "kv_dtype", "phase", "num_hidden_layers", "hidden_size",
    "intermediate_size", "vocab_size", "num_heads", "kv_heads", "head_dim", "batch_size", "ctx",
    "latency_us",
)  # fmt: skip
"""A whole small Llama: ``phase`` decode (a token at the end of ctx) or prefill (ctx tokens)."""
SECONDS = {"latency_ms": MILLI, "latency_us": MICRO}
"""Seconds of a latency column's unit. [s]"""
UNIT_ROW = "unit"
"""First cell of a row 2 that holds the units of the columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one measured operation, by column."""

    words: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.words.values())))

    def text(self, column: str) -> NDArray[np.str_]:
        """Return a column as written."""
        return self.words[column]

    def number(self, column: str) -> Array:
        """Return a column as numbers."""
        return self.words[column].astype(np.float64)

    def where(self, mask: Mask) -> Table:
        """Keep the rows of a mask."""
        return Table({name: column[mask] for name, column in self.words.items()})

    def equal(self, column: str, value: str) -> Table:
        """Keep the rows whose column holds a word."""
        return self.where(self.words[column] == value)

    def starting(self, column: str, prefix: str) -> Table:
        """Keep the rows whose column starts with a prefix."""
        return self.where(np.char.startswith(self.words[column], prefix))


def read_table(folder: Path, name: str, columns: Sequence[str]) -> Table:
    """Read ``<folder>/<name>.csv``, of which the named columns are needed.

    Row 2 may hold the units.

    Raises:
        TableError: the file is missing, empty, or lacks a column.
    """
    rows = read_rows(folder / f"{name}.csv", columns)
    return Table({column: np.array([row[column] for row in rows]) for column in columns})


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file, of which the named columns are needed.

    Raises:
        TableError: the file is missing, empty, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise TableError(
            f"measurements {path.name} cannot be read, it is not in {path.parent}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"measurements {path.name} cannot be read: {error}.") from None
    if rows and UNIT_ROW in rows[0].values():
        del rows[0]
    if not rows:
        raise TableError(f"measurements {path.name} holds no rows.")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise TableError(f"measurements {path.name} has no column {', '.join(missing)}.")
    return rows
