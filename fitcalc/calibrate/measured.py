"""All laws of one measured GPU, fitted to its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fitcalc.calibrate import fit, rows, tables
from fitcalc.calibrate.results import Result, pooled
from fitcalc.calibrate.rows import FORMATS, KV_BYTES, KV_KEYS
from fitcalc.calibrate.solve import Fit
from fitcalc.calibrate.tables import Table, read_table
from fitcalc.catalog.gpu import Gpu, load_gpus
from fitcalc.catalog.laws import MemoryLaw

RANKS = (2, 4, 8)
OPERATIONS = {"all_gather": "all_gather", "all_to_all": "alltoall"}


@dataclass(frozen=True, slots=True)
class Measured:
    """The tables of a folder; ``elementwise`` may be missing."""

    gemm: Table
    attention_decode: Table
    attention_prefill: Table
    moe: Table
    collectives: Table
    elementwise: Table | None


def read_measured(folder: Path) -> Measured:
    """Read the tables of a folder.

    Raises:
        TableError: one is missing or lacks a column.
    """
    optional = folder / "elementwise.csv"
    return Measured(
        gemm=read_table(folder, "gemm", tables.GEMM),
        attention_decode=read_table(folder, "attn_decode", tables.ATTENTION_DECODE),
        attention_prefill=read_table(folder, "attn_prefill", tables.ATTENTION_PREFILL),
        moe=read_table(folder, "moe", tables.MOE),
        collectives=read_table(folder, "allreduce", tables.COLLECTIVES),
        elementwise=read_table(folder, "elementwise", tables.ELEMENTWISE)
        if optional.exists()
        else None,
    )


def fit_gpu(gpu: Gpu, data: Measured, routing: Fit) -> list[Result]:
    """Fit every law that a GPU was measured for; the routing is that of all GPUs."""
    dense = list(gemms(gpu, data.gemm))
    prefill = list(prefills(gpu, data.attention_prefill))
    eta = {result.key: result.fit.values["eta_flops"] for result in prefill}
    return [
        *dense,
        *decodes(gpu, data.attention_decode, eta),
        *prefill,
        *moes(gpu, data.moe, routing),
        *glue(gpu, data.elementwise, dense),
        *collectives(gpu, data.collectives),
    ]


def peak_key(gpu: Gpu, compute: str) -> str:
    """Return the number format whose peak a law is a fraction of: the native one, else bf16."""
    return compute if compute in gpu.peak_flops else "bf16"


def gemms(gpu: Gpu, table: Table) -> Iterator[Result]:
    """Fit the dense GEMMs of each format."""
    for dtype, form in FORMATS.items():
        peak = peak_key(gpu, form.compute)
        cards = [
            fit.Card(chosen, card.peak_flops[peak], card.memory_bandwidth)
            for card in load_gpus(rows.same_chip(gpu.id))
            if (chosen := rows.gemm_rows(table, card.id, dtype)) is not None
        ]
        if cards:
            got = fit.fit_gemm(cards, form.weight_bytes)
            yield Result("gemm", form.key, peak, engine(cards[0].rows), got)


def decodes(gpu: Gpu, table: Table, eta_flops: Mapping[str, float]) -> Iterator[Result]:
    """Fit decode attention of each KV format."""
    for dtype, key in KV_KEYS.items():
        chosen = rows.decode_rows(table, gpu.id, dtype)
        if chosen is None:
            continue
        got = fit.fit_attention_decode(
            chosen,
            gpu.peak_flops["bf16"],
            gpu.memory_bandwidth,
            KV_BYTES[dtype],
            min(eta_flops[key], 1.0),
        )
        yield Result("attention_decode", key, "bf16", engine(chosen), got)


def prefills(gpu: Gpu, table: Table) -> Iterator[Result]:
    """Fit prefill attention of each KV format."""
    for dtype, key in KV_KEYS.items():
        chosen = rows.prefill_rows(table, gpu.id, dtype)
        if chosen is not None:
            got = fit.fit_attention_prefill(chosen, gpu.peak_flops["bf16"])
            yield Result("attention_prefill", key, "bf16", engine(chosen), got)


def fit_routing(gpus: Sequence[Gpu], data: Measured) -> Fit:
    """Fit the routing of the measured traffic: the median over GPUs and formats."""
    names = fit.Routing._fields
    fits = [result.fit for gpu in gpus for result in moes(gpu, data.moe, None)]
    return pooled([
        replace(
            one,
            values={name: one.values[name] for name in names},
            standard_errors={name: one.standard_errors[name] for name in names},
        )
        for one in fits
    ])  # fmt: skip


def moes(gpu: Gpu, table: Table, routing: Fit | None) -> Iterator[Result]:
    """Fit the fused experts of each format."""
    for dtype, form in FORMATS.items():
        chosen = rows.moe_rows(table, gpu.id, dtype)
        if chosen is None:
            continue
        peak = peak_key(gpu, form.compute)
        given = None if routing is None else fit.Routing(**routing.values)
        got = fit.fit_moe(
            chosen, gpu.peak_flops[peak], gpu.memory_bandwidth, form.weight_bytes, given
        )
        if routing is not None:
            values = {**got.values, **routing.values}
            errors = {**got.standard_errors, **routing.standard_errors}
            got = replace(got, values=values, standard_errors=errors)
        yield Result("moe", form.key, peak, engine(chosen), got)


def glue(gpu: Gpu, table: Table | None, dense: Sequence[Result]) -> Iterator[Result]:
    """Fit the kernel that only moves bytes; without any rows, what bf16 GEMMs of one row show."""
    if table is None:
        bf16 = next(result for result in dense if result.key == "bf16")
        names = MemoryLaw._fields[1:]
        values = {name: bf16.fit.values[name] for name in names}
        errors = {name: bf16.fit.standard_errors[name] for name in names}
        borrowed = replace(bf16.fit, values=values, standard_errors=errors)
        yield Result("glue", "any", "", f"{bf16.engine} gemm", borrowed)
        return
    chosen = rows.elementwise_rows(table, gpu.id)
    if chosen is not None:
        got = fit.fit_memory(chosen, gpu.memory_bandwidth)
        yield Result("glue", "any", "", engine(chosen), got)


def collectives(gpu: Gpu, table: Table) -> Iterator[Result]:
    """Fit the collectives of 2, 4 and 8 ranks."""
    link = gpu.link.bandwidth
    for ranks in RANKS:
        chosen = rows.collective_rows(table, gpu.id, "all_reduce", ranks)
        if chosen is not None:
            got = fit.fit_all_reduce(chosen, ranks, link)
            yield Result("all_reduce", str(ranks), "", str(chosen.text("kernel")[0]), got)
    for ranks in RANKS:
        chosen = rows.fused_rows(table, gpu.id, ranks)
        if chosen is not None:
            got = fit.fit_all_reduce(chosen, ranks, link)
            yield Result("all_reduce_fused", str(ranks), "", str(chosen.text("kernel")[0]), got)
    for law, operation in OPERATIONS.items():
        for ranks in RANKS:
            chosen = rows.collective_rows(table, gpu.id, operation, ranks)
            if chosen is not None:
                got = fit.fit_exchange(chosen, ranks, link)
                yield Result(law, str(ranks), "", str(chosen.text("kernel")[0]), got)


def engine(chosen: Table) -> str:
    """Return the engine and version of the rows."""
    return str(chosen.text("backend")[0])
