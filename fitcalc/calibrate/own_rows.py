"""A user's own rows: one device, timed by ``fitcalc calibrate --device``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fitcalc.calibrate import tables
from fitcalc.calibrate.tables import Table, read_rows, read_table
from fitcalc.catalog.fitted import COEFFICIENTS
from fitcalc.errors import FitcalcError, InvalidValue, TableError

GIVEN = {"moe": 2}
"""Coefficients that are not fitted to a device's own rows: the routing of experts. [1]"""
MEASURED_AT, SPREAD = "measured_at", "spread"
FILES: Mapping[str, Sequence[str]] = {
    "gemm": tables.GEMM,
    "attn_decode": tables.ATTENTION_DECODE,
    "attn_prefill": tables.ATTENTION_PREFILL,
    "moe": tables.MOE,
    "allreduce": tables.COLLECTIVES,
    "elementwise": tables.ELEMENTWISE,
    "bandwidth": tables.BANDWIDTH,
    "launch": tables.LAUNCH,
    "stack": tables.STACK,
}
"""Every table that a folder may hold, and its columns."""
_WORDS = frozenset({
    "system", "backend", "dtype", "kv_dtype", "moe_dtype", "distribution", "op", "kernel", "mode",
    "phase",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnRows:
    """The tables of one device's folder, by file.

    Attributes:
        held: Tables that are there.
        noise: Median of each table's spread: percentile 90 less 10 of one call's repeats, over
            their median; 0 where a table does not say. [1]
        thin: Laws with too few rows to fit, filled in as they are asked for: law and format.
    """

    held: Mapping[str, Table]
    noise: Mapping[str, float]
    thin: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def elementwise_timed(self) -> bool:
        """Yes: without rows the shipped result stays, not one of GEMMs."""
        return True

    def twins(self, gpu: str) -> tuple[str, ...]:
        """Nobody else is in the folder."""
        del gpu
        return ()

    def gemm(self, gpu: str, dtype: str) -> Table | None:
        """Dense GEMMs."""
        return self._rows("gemm", "gemm", gpu, dtype=dtype)

    def decode(self, gpu: str, kv_dtype: str) -> Table | None:
        """Decode attention."""
        return self._rows("attn_decode", "attention_decode", gpu, kv_dtype=kv_dtype)

    def prefill(self, gpu: str, kv_dtype: str) -> Table | None:
        """Prefill attention."""
        return self._rows("attn_prefill", "attention_prefill", gpu, kv_dtype=kv_dtype)

    def moe(self, gpu: str, dtype: str) -> Table | None:
        """Fused experts."""
        return self._rows("moe", "moe", gpu, moe_dtype=dtype)

    def elementwise(self, gpu: str) -> Table | None:
        """Kernels that only move bytes."""
        return self._rows("elementwise", "glue", gpu)

    def collective(self, gpu: str, operation: str, ranks: int) -> Table | None:
        """One operation among some ranks."""
        law = {"alltoall": "all_to_all"}.get(operation, operation)
        return self._rows("allreduce", law, gpu, op=operation, num_gpus=str(ranks))

    def fused(self, gpu: str, ranks: int) -> None:
        """None: torch has no all-reduce with the norm after it."""
        del gpu, ranks

    def missing(self) -> tuple[str, ...]:
        """Tables that are not there."""
        return tuple(name for name in FILES if name not in self.held)

    def _rows(self, file: str, law: str, gpu: str, **cells: str) -> Table | None:
        """Return the rows of these cells, unless they are too few for the law's coefficients."""
        found = self.held.get(file)
        if found is None:
            return None
        found = found.equal("system", gpu)
        for column, value in cells.items():
            found = found.equal(column, value)
        if len(found) <= len(COEFFICIENTS[law]) - GIVEN.get(law, 0):
            if len(found):
                self.thin[law, " ".join(cells.values()) or "any"] = len(found)
            return None
        return found


def read_own_rows(folder: Path) -> OwnRows:
    """Read the tables that a folder holds; any may be missing.

    Raises:
        FitcalcError: a table lacks a column, or a cell is not the number it must be.
        InvalidValue: the folder holds no table at all.
    """
    held = {name: _read(folder, name) for name in FILES if (folder / f"{name}.csv").exists()}
    found = {name: table for name, table in held.items() if table is not None}
    if not found:
        fix = "give a folder that fitcalc calibrate --device wrote; it holds gemm.csv"
        raise InvalidValue("fit", folder, fix)
    return OwnRows(found, {name: _noise(folder / f"{name}.csv") for name in found})


def _noise(path: Path) -> float:
    cells = (row.get(SPREAD) for row in read_rows(path, ("system",)))
    return float(np.median([float(cell) for cell in cells if cell] or [0.0]))


def _read(folder: Path, name: str) -> Table | None:
    """Read one table; None where it holds no rows yet."""
    path = folder / f"{name}.csv"
    try:
        table = read_table(folder, name, FILES[name])
    except TableError as error:
        if "no rows" in str(error):
            return None
        raise FitcalcError(str(error)) from None
    for column in FILES[name]:
        if column not in _WORDS:
            _check(path, column, table)
    return table


def _check(path: Path, column: str, table: Table) -> None:
    """Refuse a cell that is no number above 0, by its file, column and line."""
    for line, cell in enumerate(table.text(column).tolist(), start=1):
        try:
            fine = np.isfinite(float(cell)) and float(cell) > 0
        except ValueError:
            fine = False
        if not fine:
            what = f"{column} of row {line} is {cell!r}"
            raise FitcalcError(f"measurements {path}: {what}; give a number above 0.")
