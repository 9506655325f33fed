"""The public tables of kernels that others timed on many GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fitcalc.calibrate import rows, tables
from fitcalc.calibrate.tables import Table, read_table


@dataclass(frozen=True, slots=True)
class Published:
    """The tables of a folder, and which of their rows stand for a law; see ``rows``."""

    gemms: Table
    decodes: Table
    prefills: Table
    moes: Table
    collectives: Table
    moved: Table | None

    @property
    def elementwise_timed(self) -> bool:
        """Whether there is a table of elementwise kernels."""
        return self.moved is not None

    def twins(self, gpu: str) -> tuple[str, ...]:
        """GPUs with the same chip."""
        return rows.same_chip(gpu)[1:]

    def gemm(self, gpu: str, dtype: str) -> Table | None:
        """Dense GEMMs."""
        return rows.gemm_rows(self.gemms, gpu, dtype)

    def decode(self, gpu: str, kv_dtype: str) -> Table | None:
        """Decode attention."""
        return rows.decode_rows(self.decodes, gpu, kv_dtype)

    def prefill(self, gpu: str, kv_dtype: str) -> Table | None:
        """Prefill attention."""
        return rows.prefill_rows(self.prefills, gpu, kv_dtype)

    def moe(self, gpu: str, dtype: str) -> Table | None:
        """Fused experts."""
        return rows.moe_rows(self.moes, gpu, dtype)

    def elementwise(self, gpu: str) -> Table | None:
        """Kernels that only move bytes."""
        return None if self.moved is None else rows.elementwise_rows(self.moved, gpu)

    def collective(self, gpu: str, operation: str, ranks: int) -> Table | None:
        """One operation among some ranks."""
        return rows.collective_rows(self.collectives, gpu, operation, ranks)

    def fused(self, gpu: str, ranks: int) -> Table | None:
        """All-reduces with the norm after them."""
        return rows.fused_rows(self.collectives, gpu, ranks)


def read_published(folder: Path) -> Published:
    """Read the tables of a folder; elementwise.csv may be missing.

    Raises:
        TableError: one is missing or lacks a column.
    """
    optional = folder / "elementwise.csv"
    return Published(
        gemms=read_table(folder, "gemm", tables.GEMM),
        decodes=read_table(folder, "attn_decode", tables.ATTENTION_DECODE),
        prefills=read_table(folder, "attn_prefill", tables.ATTENTION_PREFILL),
        moes=read_table(folder, "moe", tables.MOE),
        collectives=read_table(folder, "allreduce", tables.COLLECTIVES),
        moved=read_table(folder, "elementwise", tables.ELEMENTWISE) if optional.exists() else None,
    )
