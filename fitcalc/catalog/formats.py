"""Number formats of weights and of the KV cache (models_db/formats.toml)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fitcalc.units import BITS_PER_BYTE


class Compute(StrEnum):
    """The number format a GEMM multiplies in; also the key of a GPU's dense peak."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How quantized weights are stored, and what the GPU multiplies.

    ``native_capability`` is the lowest CUDA capability that multiplies in ``compute``; below it
    weights are expanded and the GEMM runs in bf16 (weight-only).
    """

    id: str
    bits: float
    group_size: int | None
    group_scale_bits: float
    group_zero_bits: float
    channel_scale_bytes: float
    block: tuple[int, int] | None
    block_scale_bytes: float
    compute: Compute
    min_capability: float
    native_capability: float | None
    experts_only: bool
    vllm_quantization: str | None
    aliases: tuple[str, ...]
    source: str

    @property
    def bytes_per_param(self) -> float:
        """Bytes per quantized weight, group or block scales included, channel scales not. [B]"""
        bits = self.bits
        if self.group_size:
            bits += (self.group_scale_bits + self.group_zero_bits) / self.group_size
        if self.block:
            bits += self.block_scale_bytes * BITS_PER_BYTE / (self.block[0] * self.block[1])
        return bits / BITS_PER_BYTE


@dataclass(frozen=True, slots=True)
class KvFormat:
    """How keys and values are stored.

    ``scale_bytes_per_head`` is per token and KV head, for key and value together.
    ``mla_bytes_per_token`` replaces the size of an MLA entry where the layout is packed.
    """

    id: str
    bytes_per_element: float
    scale_bytes_per_head: float
    scale_bytes_per_element: float
    mla_bytes_per_token: float | None
    vllm_kv_cache_dtype: str
    min_capability: float
    aliases: tuple[str, ...]
    source: str
