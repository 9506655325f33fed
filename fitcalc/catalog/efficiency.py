"""Efficiency: the fitted coefficients of one GPU's kernels and links, bound to its peaks.

A GPU that was measured uses its own results; one that names a measured relative
(``efficiency_from``) borrows its fractions and floors; any other uses the pooled default. Links are
borrowed only within their family. A format that was not measured borrows by ``NATIVE`` and
``WEIGHT_ONLY``. What a user measured (``fitcalc.catalog.own``) goes before all of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from fitcalc.answers import Calibrated
from fitcalc.catalog.fitted import Coefficients
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.catalog.whose import (
    Source,
    collective,
    default,
    find,
    link_source,
    source_of,
    with_default,
    worst,
)
from fitcalc.errors import TableError

L = TypeVar("L")

NATIVE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bf16": ("bf16", ("bf16",)),
    "fp16": ("bf16", ("bf16",)),
    "fp8": ("fp8", ("fp8", "fp8_block", "bf16")),
    "fp8_block": ("fp8", ("fp8_block", "fp8", "bf16")),
    "mxfp8": ("fp8", ("fp8_block", "fp8", "bf16")),
    "int8": ("int8", ("int8", "fp8", "fp8_block", "bf16")),
    "nvfp4": ("fp4", ("nvfp4", "fp8", "bf16")),
    "mxfp4": ("bf16", ("mxfp4", "w4a16", "bf16")),
    "w4a16": ("bf16", ("w4a16", "mxfp4", "bf16")),
    "awq_int4": ("bf16", ("w4a16", "mxfp4", "bf16")),
    "gptq_int4": ("bf16", ("w4a16", "mxfp4", "bf16")),
}
"""Weight format: the peak it multiplies at, and whose coefficients it takes, first found first."""

WEIGHT_ONLY: Mapping[str, tuple[str, ...]] = {
    "fp8": ("fp8", "bf16"),
    "fp8_block": ("fp8_block", "bf16"),
    "mxfp8": ("bf16",),
    "int8": ("bf16",),
    "nvfp4": ("w4a16", "mxfp4", "bf16"),
}
"""The same where the GPU has no such peak: weights are expanded and the GEMM runs in bf16."""

EIGHT_BIT_ROWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mxfp4": ("fp8", ("mxfp4_mxfp8", "mxfp4"))
}
"""The same for experts on Blackwell's tensor cores of compute capability 10, which multiply MXFP4
weights with MXFP8 rows: ``--moe-backend flashinfer_trtllm_afp8``, vLLM 0.33.0
fused_moe/oracle/mxfp4.py (VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1 before)."""
EIGHT_BIT_CAPABILITY = (10.0, 11.0)

KV = {"bf16": ("bf16",), "fp8": ("fp8", "bf16")}
RANKS = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[L]):
    """A law with where it comes from and how well it fits.

    Attributes:
        law: Coefficients bound to the GPU's peaks; what the physics functions take.
        calibrated: Measured on this GPU and in this format, transferred, or pooled.
        origin: Whose results, and which engine's kernels.
        coefficients: The figures as fitted, with standard errors, n and residuals.
    """

    law: L
    calibrated: Calibrated
    origin: str
    coefficients: Coefficients


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a GPU reaches of its peaks.

    Attributes:
        gpu: Its id.
        calibrated: Whether its kernels were measured, transferred from a relative, or pooled.
        gemm: By weight format id.
        attention_decode: By KV format, ``bf16`` or ``fp8``.
        attention_prefill: By KV format, ``bf16`` or ``fp8``.
        moe: By weight format id.
        glue: Kernels that only move bytes.
        all_reduce: By ranks, 2, 4 and 8.
        all_reduce_fused: The same where one kernel adds up and normalizes (FlashInfer's).
        all_gather: By ranks; reduce-scatter takes as long.
        all_to_all: By ranks.
        point_to_point: Between two GPUs of the link domain: an all-to-all of two.
    """

    gpu: str
    calibrated: Calibrated
    gemm: Mapping[str, Fitted[GemmLaw]]
    attention_decode: Mapping[str, Fitted[AttentionDecodeLaw]]
    attention_prefill: Mapping[str, Fitted[AttentionPrefillLaw]]
    moe: Mapping[str, Fitted[MoeLaw]]
    glue: Fitted[MemoryLaw]
    all_reduce: Mapping[int, Fitted[AllReduceLaw]]
    all_reduce_fused: Mapping[int, Fitted[AllReduceLaw]]
    all_gather: Mapping[int, Fitted[ExchangeLaw]]
    all_to_all: Mapping[int, Fitted[ExchangeLaw]]
    point_to_point: Fitted[ExchangeLaw]


def nearest_ranks(ranks: int) -> int:
    """Return the measured number of ranks that stands for any: the next larger, at most 8. [1]

    Examples:
        >>> nearest_ranks(3), nearest_ranks(16)
        (4, 8)
    """
    return next((measured for measured in RANKS if measured >= ranks), RANKS[-1])


@cache
def load_efficiency(gpu: Gpu) -> Efficiency:
    """Return a GPU's coefficients, measured or borrowed; ``calibrated`` says which.

    Raises:
        TableError: a results file is broken.
    """
    own = source_of(gpu)
    kernels = with_default(own)
    prefill = {key: _attention(kernels, chain, gpu) for key, chain in KV.items()}
    links = (link_source(gpu, own), default())
    reduces = {
        law: {
            ranks: _all_reduce(collective(links, law, ranks, gpu), gpu.link.bandwidth)
            for ranks in RANKS
        }
        for law in ("all_reduce", "all_reduce_fused")
    }
    exchanges = {
        law: {
            ranks: _exchange(collective(links, law, ranks, gpu), gpu.link.bandwidth)
            for ranks in RANKS
        }
        for law in ("all_gather", "all_to_all")
    }
    decode = {key: _decode(kernels, chain, gpu, prefill[key]) for key, chain in KV.items()}
    gemm = {fmt: _gemm(kernels, fmt, gpu) for fmt in NATIVE}
    glue = _glue(kernels, gpu)
    dense = (gemm["bf16"], prefill["bf16"], decode["bf16"], glue)
    return Efficiency(
        gpu=gpu.id,
        calibrated=worst(*(law.calibrated for law in dense)) if own.own else own.calibrated,
        gemm=gemm,
        attention_decode=decode,
        attention_prefill=prefill,
        moe={fmt: _moe(kernels, fmt, gpu) for fmt in NATIVE},
        glue=glue,
        all_reduce=reduces["all_reduce"],
        all_reduce_fused=reduces["all_reduce_fused"],
        all_gather=exchanges["all_gather"],
        all_to_all=exchanges["all_to_all"],
        point_to_point=exchanges["all_to_all"][2],
    )


def _format(
    sources: tuple[Source, ...], law: str, fmt: str, gpu: Gpu
) -> tuple[Coefficients, Calibrated, str, float]:
    """Return a weight format's row and the peak it works at."""
    compute, chain = NATIVE[fmt]
    if compute != "bf16" and compute in gpu.peak_flops:
        found = find(sources, law, chain, ())
        return (*found, gpu.peak_flops[compute])
    found = find(sources, law, chain if compute == "bf16" else WEIGHT_ONLY[fmt], ("bf16",))
    return (*found, _half_peak(gpu))


def _half_peak(gpu: Gpu) -> float:
    """Return the dense 16-bit peak; GPUs before bf16 work in fp16. [FLOP/s]"""
    peak = gpu.peak_flops.get("bf16", gpu.peak_flops.get("fp16"))
    if peak is None:
        raise TableError(f"gpus/{gpu.id}.toml has no 16-bit peak.")
    return peak


def _gemm(sources: tuple[Source, ...], fmt: str, gpu: Gpu) -> Fitted[GemmLaw]:
    row, calibrated, origin, peak = _format(sources, "gemm", fmt, gpu)
    law = GemmLaw(peak, gpu.memory_bandwidth, **row.values)
    return Fitted(law, calibrated, origin, row)


def _moe(sources: tuple[Source, ...], fmt: str, gpu: Gpu) -> Fitted[MoeLaw]:
    low, high = EIGHT_BIT_CAPABILITY
    if fmt in EIGHT_BIT_ROWS and low <= gpu.capability < high:
        compute, chain = EIGHT_BIT_ROWS[fmt]
        row, calibrated, origin = find(sources, "moe", chain, (compute,))
        peak = gpu.peak_flops[compute]
    else:
        row, calibrated, origin, peak = _format(sources, "moe", fmt, gpu)
    law = MoeLaw(peak, gpu.memory_bandwidth, **row.values)
    return Fitted(law, calibrated, origin, row)


def _attention(
    sources: tuple[Source, ...], chain: tuple[str, ...], gpu: Gpu
) -> Fitted[AttentionPrefillLaw]:
    row, calibrated, origin = find(sources, "attention_prefill", chain, ())
    law = AttentionPrefillLaw(_half_peak(gpu), gpu.memory_bandwidth, **row.values)
    return Fitted(law, calibrated, origin, row)


def _decode(
    sources: tuple[Source, ...],
    chain: tuple[str, ...],
    gpu: Gpu,
    prefill: Fitted[AttentionPrefillLaw],
) -> Fitted[AttentionDecodeLaw]:
    row, calibrated, origin = find(sources, "attention_decode", chain, ())
    law = AttentionDecodeLaw(
        _half_peak(gpu),
        gpu.memory_bandwidth,
        eta_flops=prefill.law.eta_flops,
        **row.values,
    )
    return Fitted(law, calibrated, origin, row)


def _glue(sources: tuple[Source, ...], gpu: Gpu) -> Fitted[MemoryLaw]:
    row, calibrated, origin = find(sources, "glue", ("any",), ())
    return Fitted(MemoryLaw(gpu.memory_bandwidth, **row.values), calibrated, origin, row)


def _all_reduce(
    found: tuple[Coefficients, Calibrated, str], link_bandwidth: float
) -> Fitted[AllReduceLaw]:
    row, calibrated, origin = found
    return Fitted(AllReduceLaw(link_bandwidth, **row.values), calibrated, origin, row)


def _exchange(
    found: tuple[Coefficients, Calibrated, str], link_bandwidth: float
) -> Fitted[ExchangeLaw]:
    row, calibrated, origin = found
    return Fitted(ExchangeLaw(link_bandwidth, **row.values), calibrated, origin, row)
