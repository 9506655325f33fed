"""All laws of one measured GPU, fitted to its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from fitcalc.calibrate import fit
from fitcalc.calibrate.results import Result, pooled
from fitcalc.calibrate.rows import FORMATS, KV_BYTES, KV_KEYS
from fitcalc.calibrate.solve import Fit
from fitcalc.calibrate.tables import Table
from fitcalc.catalog.gpu import Gpu, load_gpus
from fitcalc.catalog.laws import MemoryLaw

RANKS = (2, 4, 8)
OPERATIONS = {"all_gather": "all_gather", "all_to_all": "alltoall"}


class Rows(Protocol):
    """Which measured rows stand for a law of a GPU; None where there are none to trust."""

    @property
    def elementwise_timed(self) -> bool:
        """Whether elementwise kernels were timed on their own; GEMMs of one row stand in else."""
        ...

    def twins(self, gpu: str) -> tuple[str, ...]:
        """GPUs with the same chip beside other memory."""
        ...

    def gemm(self, gpu: str, dtype: str) -> Table | None:
        """Dense GEMMs."""
        ...

    def decode(self, gpu: str, kv_dtype: str) -> Table | None:
        """Decode attention."""
        ...

    def prefill(self, gpu: str, kv_dtype: str) -> Table | None:
        """Prefill attention."""
        ...

    def moe(self, gpu: str, dtype: str) -> Table | None:
        """Fused experts."""
        ...

    def elementwise(self, gpu: str) -> Table | None:
        """Kernels that only move bytes."""
        ...

    def collective(self, gpu: str, operation: str, ranks: int) -> Table | None:
        """One operation among some ranks."""
        ...

    def fused(self, gpu: str, ranks: int) -> Table | None:
        """All-reduces with the norm after them."""
        ...


def fit_gpu(
    gpu: Gpu, data: Rows, routing: Fit, eta_flops: Mapping[str, float] | None = None
) -> list[Result]:
    """Fit every law that a GPU was measured for.

    Args:
        gpu: The GPU.
        data: Its rows.
        routing: How unevenly experts were routed to, of all GPUs.
        eta_flops: Fraction of the peak of attention whose prefill was not measured, by KV format.
    """
    dense = list(gemms(gpu, data))
    prefill = list(prefills(gpu, data))
    eta = {**(eta_flops or {}), **{row.key: row.fit.values["eta_flops"] for row in prefill}}
    return [
        *dense,
        *decodes(gpu, data, eta),
        *prefill,
        *moes(gpu, data, routing),
        *glue(gpu, data, dense),
        *collectives(gpu, data),
    ]


def peak_key(gpu: Gpu, compute: str) -> str:
    """Return the number format whose peak a law is a fraction of: the native one, else bf16."""
    return compute if compute in gpu.peak_flops else "bf16"


def gemms(gpu: Gpu, data: Rows) -> Iterator[Result]:
    """Fit the dense GEMMs of each format."""
    for dtype, form in FORMATS.items():
        peak = peak_key(gpu, form.compute)
        cards = [
            fit.Card(chosen, card.peak_flops[peak], card.memory_bandwidth)
            for card in (gpu, *load_gpus(data.twins(gpu.id)))
            if (chosen := data.gemm(card.id, dtype)) is not None
        ]
        if cards:
            got = fit.fit_gemm(cards, form.weight_bytes)
            yield Result("gemm", form.key, peak, engine(cards[0].rows), got)


def decodes(gpu: Gpu, data: Rows, eta_flops: Mapping[str, float]) -> Iterator[Result]:
    """Fit decode attention of each KV format."""
    for dtype, key in KV_KEYS.items():
        chosen = data.decode(gpu.id, dtype)
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


def prefills(gpu: Gpu, data: Rows) -> Iterator[Result]:
    """Fit prefill attention of each KV format."""
    for dtype, key in KV_KEYS.items():
        chosen = data.prefill(gpu.id, dtype)
        if chosen is not None:
            got = fit.fit_attention_prefill(
                chosen, gpu.peak_flops["bf16"], gpu.memory_bandwidth, KV_BYTES[dtype]
            )
            yield Result("attention_prefill", key, "bf16", engine(chosen), got)


def fit_routing(gpus: Sequence[Gpu], data: Rows) -> Fit:
    """Fit the routing of the measured traffic: the median over GPUs and formats."""
    names = fit.Routing._fields
    fits = [result.fit for gpu in gpus for result in moes(gpu, data, None)]
    return pooled([
        replace(
            one,
            values={name: one.values[name] for name in names},
            standard_errors={name: one.standard_errors[name] for name in names},
        )
        for one in fits
    ])  # fmt: skip


def moes(gpu: Gpu, data: Rows, routing: Fit | None) -> Iterator[Result]:
    """Fit the fused experts of each format."""
    for dtype, form in FORMATS.items():
        chosen = data.moe(gpu.id, dtype)
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


def glue(gpu: Gpu, data: Rows, dense: Sequence[Result]) -> Iterator[Result]:
    """Fit the kernel that only moves bytes; without any rows, what bf16 GEMMs of one row show."""
    if not data.elementwise_timed:
        bf16 = next(result for result in dense if result.key == "bf16")
        names = MemoryLaw._fields[1:]
        values = {name: bf16.fit.values[name] for name in names}
        errors = {name: bf16.fit.standard_errors[name] for name in names}
        borrowed = replace(bf16.fit, values=values, standard_errors=errors)
        yield Result("glue", "any", "", f"{bf16.engine} gemm", borrowed)
        return
    chosen = data.elementwise(gpu.id)
    if chosen is not None:
        got = fit.fit_memory(chosen, gpu.memory_bandwidth)
        yield Result("glue", "any", "", engine(chosen), got)


def collectives(gpu: Gpu, data: Rows) -> Iterator[Result]:
    """Fit the collectives of 2, 4 and 8 ranks."""
    link = gpu.link.bandwidth
    for ranks in RANKS:
        chosen = data.collective(gpu.id, "all_reduce", ranks)
        if chosen is not None:
            got = fit.fit_all_reduce(chosen, ranks, link)
            yield Result("all_reduce", str(ranks), "", str(chosen.text("kernel")[0]), got)
    for ranks in RANKS:
        chosen = data.fused(gpu.id, ranks)
        if chosen is not None:
            got = fit.fit_all_reduce(chosen, ranks, link)
            yield Result("all_reduce_fused", str(ranks), "", str(chosen.text("kernel")[0]), got)
    for law, operation in OPERATIONS.items():
        for ranks in RANKS:
            chosen = data.collective(gpu.id, operation, ranks)
            if chosen is not None:
                got = fit.fit_exchange(chosen, ranks, link)
                yield Result(law, str(ranks), "", str(chosen.text("kernel")[0]), got)


def engine(chosen: Table) -> str:
    """Return the engine and version of the rows."""
    return str(chosen.text("backend")[0])
