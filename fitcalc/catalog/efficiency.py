"""Efficiency: the fitted coefficients of one GPU's kernels and links, bound to its peaks.

The figures live in ``calibration/results/<gpu>.toml``; ``fitcalc.calibrate`` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from fitcalc.answers import Calibrated
    from fitcalc.catalog.gpu import Gpu
    from fitcalc.catalog.laws import (
        AllReduceLaw,
        ExchangeLaw,
        AttentionDecodeLaw,
        AttentionPrefillLaw,
        GemmLaw,
        MemoryLaw,
        MoeLaw,
    )

L = TypeVar("L", bound=NamedTuple)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[L]):
    """A law with where it comes from and how well it fits.

    Attributes:
        law: Coefficients bound to the GPU's peaks; what the physics functions take.
        calibrated: Measured on this GPU, transferred from another, or pooled over all.
        origin: GPU id and engine whose kernels were measured.
        n: Measurements. [1]
        residual: Percentiles 10, 50 and 90 of measured over predicted time. [1]
    """

    law: L
    calibrated: Calibrated
    origin: str
    n: int
    residual: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a GPU reaches of its peaks.

    Attributes:
        gpu: Its id.
        calibrated: The worst of what a dense model's step needs.
        gemm: By format: ``bf16 fp8 fp8_block int8 int8_weight_only w4a16 nvfp4 mxfp4 mxfp8``.
        attention_decode: By KV format: ``bf16 fp8``.
        attention_prefill: By KV format: ``bf16 fp8``.
        moe: By format, as ``gemm``.
        glue: Kernels that only move bytes.
        all_reduce: By ranks.
        all_gather: By ranks; reduce-scatter as well.
        all_to_all: By ranks.
        point_to_point: Between two GPUs of the link domain.
    """

    gpu: str
    calibrated: Calibrated
    gemm: Mapping[str, Fitted[GemmLaw]]
    attention_decode: Mapping[str, Fitted[AttentionDecodeLaw]]
    attention_prefill: Mapping[str, Fitted[AttentionPrefillLaw]]
    moe: Mapping[str, Fitted[MoeLaw]]
    glue: Fitted[MemoryLaw]
    all_reduce: Mapping[int, Fitted[AllReduceLaw]]
    all_gather: Mapping[int, Fitted[ExchangeLaw]]
    all_to_all: Mapping[int, Fitted[ExchangeLaw]]
    point_to_point: Fitted[ExchangeLaw]


def load_efficiency(gpu: Gpu) -> Efficiency:
    """Read a GPU's coefficients, or borrow them; ``calibrated`` says which."""
    raise NotImplementedError
