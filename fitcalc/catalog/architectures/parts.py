"""The parts a model is made of: tensors, mixers, layers, and what a checkpoint quantized."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LayerKind(StrEnum):
    """What a layer keeps of the past."""

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    MLA = "mla"
    STATE = "state"
    NONE = "none"


class TensorKind(StrEnum):
    """What a tensor is for; weight formats treat these differently."""

    EMBEDDING = "embedding"
    LM_HEAD = "lm_head"
    LINEAR = "linear"
    EXPERT = "expert"
    ROUTER = "router"
    OTHER = "other"
    VISION = "vision"
    MTP = "mtp"


class Shard(StrEnum):
    """How tensor parallelism splits a tensor.

    ``COLUMN`` splits rows (out features), ``ROW`` splits columns (in features), ``KV`` splits rows
    by key/value head and copies heads when there are fewer than ranks, ``VOCAB`` splits rows padded
    to 64. Tensors of kind ``EXPERT`` split over the expert group (tp x dp) instead of tp.
    """

    COLUMN = "column"
    ROW = "row"
    KV = "kv"
    VOCAB = "vocab"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight of a checkpoint, or ``experts`` x ``copies`` alike ones.

    ``rows`` are out features and ``cols`` in features (1 for a vector). ``gemm`` labels the fused
    matrix product it belongs to in vLLM ("" = none). ``heads`` counts the key/value heads of a
    ``KV`` tensor. ``dtype_bytes`` is set where the dtype is not the model's (0 = the model's).
    ``ignored``: the checkpoint's quantization leaves it in 16 bits. ``duplicate``: vLLM's second
    copy of another tensor, in memory but not in the checkpoint.
    """

    name: str
    rows: int
    cols: int
    kind: TensorKind
    shard: Shard
    experts: int = 1
    copies: int = 1
    gemm: str = ""
    heads: int = 0
    dtype_bytes: int = 0
    ignored: bool = False
    duplicate: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights in the checkpoint, over all ranks. [1]"""
        return 0 if self.duplicate else self.rows * self.cols * self.experts * self.copies


@dataclass(frozen=True, slots=True)
class Attention:
    """A layer that keeps keys and values. Fields without use are 0.

    ``window`` is the sliding window or the chunk [tokens], None = the whole context.
    ``shares_kv``: reads another layer's cache and stores none. ``index_topk`` > 0 with
    ``index_head_dim`` 0: reuses another layer's indexer. ``compress_ratio``: tokens folded into
    one cache entry. ``sinks``: one learned sink a head.
    """

    kind: LayerKind
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    v_head_dim: int
    window: int | None = None
    shares_kv: bool = False
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    qk_nope_head_dim: int = 0
    index_topk: int = 0
    index_n_heads: int = 0
    index_head_dim: int = 0
    compress_ratio: int = 1


class StateKind(StrEnum):
    """The family of a recurrent mixer, as vLLM names its backends."""

    MAMBA1 = "mamba1"
    MAMBA2 = "mamba2"
    GDN = "gdn"
    KDA = "kda"
    LIGHTNING = "lightning"


@dataclass(frozen=True, slots=True)
class StateShape:
    """One state tensor of a sequence before tensor parallelism, which splits ``tp_axis``."""

    name: str
    shape: tuple[int, ...]
    dtype_bytes: int
    tp_axis: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A recurrent layer: a state of fixed size instead of a cache that grows.

    ``num_key_heads`` differs from ``num_heads`` in gated delta nets; ``num_groups`` are those of
    Mamba-2, which vLLM repeats where there are fewer than ranks.
    """

    kind: StateKind
    num_heads: int
    head_dim: int
    state_size: int
    conv_kernel: int
    shapes: tuple[StateShape, ...]
    num_key_heads: int = 0
    num_groups: int = 0


@dataclass(frozen=True, slots=True)
class Moe:
    """Routed experts of a layer; ``shared_intermediate_size`` is the width of all shared ones."""

    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    shared_intermediate_size: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: a mixer over tokens, then a dense MLP, experts, both or neither."""

    mixer: Attention | State | None
    moe: Moe | None
    intermediate_size: int
    tensors: tuple[Tensor, ...]

    @property
    def kind(self) -> LayerKind:
        """What the layer keeps of the past."""
        if self.mixer is None:
            return LayerKind.NONE
        return LayerKind.STATE if isinstance(self.mixer, State) else self.mixer.kind


@dataclass(frozen=True, slots=True)
class CheckpointQuantization:
    """How a checkpoint was quantized: its weight format, what it left out, and its KV format.

    ``method`` is vLLM's name for it, ``ignore`` the modules left in 16 bits (``re:`` patterns and
    globs as checkpoints write them).
    """

    format: str
    method: str
    group_size: int | None = None
    ignore: tuple[str, ...] = ()
    quantizes_lm_head: bool = False
    kv_format: str | None = None
