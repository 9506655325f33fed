"""How a split model computes: the matrix products of one rank, and which splits vLLM refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from fitcalc.answers import Limit, Rejection
from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.model import (
    Attention,
    LayerKind,
    LlmModel,
    Shard,
    State,
    StateKind,
    Tensor,
    TensorKind,
)
from fitcalc.physics.weights import Parallel, Stored, rank_share, stored


@dataclass(frozen=True, slots=True)
class Gemm:
    """A matrix product of one rank: (m, k) x (k, n), for ``count`` experts or copies.

    ``kind`` is LINEAR, EXPERT, ROUTER or LM_HEAD. ``quantized``: it multiplies weights of the
    model's weight format; otherwise 16-bit ones.
    """

    label: str
    n: float
    k: float
    kind: TensorKind
    count: float
    quantized: bool


@dataclass(frozen=True, slots=True)
class RankGemms:
    """The products of one rank for each distinct layer of a model, and of its head."""

    layers: tuple[tuple[Gemm, ...], ...]
    lm_head: Gemm


@lru_cache(maxsize=65536)
def gemms(
    model: LlmModel,
    weight_format: WeightFormat | None = None,
    *,
    tp: int = 1,
    dp: int = 1,
    enable_expert_parallel: bool = False,
) -> RankGemms:
    """Every matrix product of one rank, fused as vLLM fuses them.

    Experts carry the n and k of one expert and the number a rank holds. A tied head multiplies the
    embedding.

    Examples:
        >>> from fitcalc.catalog.model import load_model
        >>> for g in gemms(load_model("llama-3.1-70b"), tp=8).layers[0]:
        ...     print(g.label, g.n, g.k)
        qkv_proj 1280.0 8192.0
        o_proj 8192.0 1024.0
        gate_up_proj 7168.0 8192.0
        down_proj 8192.0 3584.0
    """
    split = Parallel(tp, 1, dp, enable_expert_parallel)
    how = stored(model, weight_format)
    layers = tuple(_fused(layer.tensors, split, how) for layer in model.layers)
    head = next((t for t in model.outer if t.kind is TensorKind.LM_HEAD), None)
    table = head or next(t for t in model.outer if t.kind is TensorKind.EMBEDDING)
    n, k, _ = rank_share(table, split)
    quantized = head is not None and how is not None and how.covers(head)
    return RankGemms(layers, Gemm("lm_head", n, k, TensorKind.LM_HEAD, 1.0, quantized))


def _fused(tensors: tuple[Tensor, ...], split: Parallel, how: Stored | None) -> tuple[Gemm, ...]:
    """Join the tensors of one label along n."""
    joined: dict[str, Gemm] = {}
    for tensor in tensors:
        if not tensor.gemm:
            continue
        n, k, count = rank_share(tensor, split)
        before = joined.get(tensor.gemm)
        quantized = how is not None and how.covers(tensor)
        joined[tensor.gemm] = Gemm(
            tensor.gemm, n + (before.n if before else 0.0), k, tensor.kind, count, quantized
        )
    return tuple(joined.values())


def divisibility(
    model: LlmModel,
    weight_format: WeightFormat | None = None,
    *,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    enable_expert_parallel: bool = False,
) -> Rejection | None:
    """Say why vLLM would refuse to split a model so, or None if it would not.

    Examples:
        >>> from fitcalc.catalog.model import load_model
        >>> divisibility(load_model("llama-3.1-70b"), tp=8) is None
        True
        >>> divisibility(load_model("llama-3.1-70b"), tp=3).reason
        'tensor_parallel_size 3 does not divide the 64 attention heads'
    """
    if pp > model.num_hidden_layers:
        reason = f"pipeline_parallel_size {pp} exceeds the {model.num_hidden_layers} layers"
        return _refusal(pp, model.num_hidden_layers, reason)
    for layer in model.layers:
        found = _heads(layer.mixer, tp)
        if found is not None:
            return found
    split = Parallel(tp, pp, dp, enable_expert_parallel)
    how = stored(model, weight_format)
    for layer in model.layers:
        for tensor in layer.tensors:
            found = _sizes(tensor, split, how)
            if found is not None:
                return found
    return None


def _refusal(needed: float, available: float, reason: str) -> Rejection:
    return Rejection(limit=Limit.DIVISIBILITY, needed=needed, available=available, reason=reason)


def _heads(mixer: Attention | State | None, tp: int) -> Rejection | None:
    """Heads must divide over tp; fewer key/value heads than ranks must divide tp."""
    if mixer is None:
        return None
    if isinstance(mixer, State):
        heads, name = _state_heads(mixer)
    else:
        heads, name = mixer.num_attention_heads, "attention heads"
    if heads % tp:
        reason = f"tensor_parallel_size {tp} does not divide the {heads} {name}"
        return _refusal(tp, heads, reason)
    if isinstance(mixer, State) or mixer.kind is LayerKind.MLA:
        return None
    kv = mixer.num_key_value_heads
    if kv % tp and tp % kv:
        reason = f"tensor_parallel_size {tp} and the {kv} key/value heads divide neither way"
        return _refusal(tp, kv, reason)
    return None


def _state_heads(mixer: State) -> tuple[int, str]:
    """Return the heads that tp must divide: a gated delta net has fewer of keys than of values."""
    if mixer.kind is StateKind.GDN:
        return mixer.num_key_heads, "linear key heads"
    return mixer.num_heads, "state heads"


def _sizes(tensor: Tensor, split: Parallel, how: Stored | None) -> Rejection | None:
    """Rows or columns must divide evenly, and into whole quantization groups or blocks."""
    if not tensor.gemm or tensor.shard not in (Shard.COLUMN, Shard.ROW):
        return None
    expert = tensor.kind is TensorKind.EXPERT
    if expert and split.enable_expert_parallel:
        return None
    ranks = split.expert_ranks if expert else split.tp
    size = tensor.rows if tensor.shard is Shard.COLUMN else tensor.cols
    if size % ranks:
        reason = f"{ranks} ranks do not divide the size {size} of {tensor.name}"
        return _refusal(ranks, size, reason)
    grain = _grain(tensor, how)
    if ranks > 1 and grain and (size // ranks) % grain and size >= grain:
        held = size // ranks
        reason = (
            f"{tensor.name} has {held} a rank over {ranks} ranks, which is not a multiple of the "
            f"quantization's {grain}"
        )
        return _refusal(math.ceil(held / grain) * grain, held, reason)
    return None


def _grain(tensor: Tensor, how: Stored | None) -> int:
    """Return what a rank's share must be a multiple of: a block's side, or a group along k."""
    if how is None or not how.covers(tensor) or how.format.experts_only:
        return 0
    if how.format.block:
        return how.format.block[0 if tensor.shard is Shard.COLUMN else 1]
    return (how.group_size or 0) if tensor.shard is Shard.ROW else 0
