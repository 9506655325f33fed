"""Weights: what one rank holds under tensor, pipeline, data and expert parallelism."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from fitcalc.catalog.checkpoint import is_ignored
from fitcalc.catalog.formats import WeightFormat, load_weight_format
from fitcalc.catalog.model import (
    LlmModel,
    Shard,
    Tensor,
    TensorKind,
)
from fitcalc.catalog.model_names import usually_ignored

VOCAB_PAD = 64
"""Rows of embedding and head are padded to this. vLLM vocab_parallel_embedding.py:36."""
MXFP4_HIDDEN_PAD = 256
"""MXFP4 experts pad the hidden size to this. vLLM fused_moe/oracle/mxfp4.py:837."""
MXFP4_INTERMEDIATE_PAD = 128
"""MXFP4 experts pad the intermediate size to this, Marlin and TRT-LLM kernels. The same file."""
TRITON_INTERMEDIATE_PAD = 64
"""The same for the Triton kernels of Hopper."""
BLACKWELL = 10.0
HALF = 2.0
HALF_BITS = 16.0
ROCM_STRIDE_BYTES = 512.0
"""ROCm pads 16-bit experts whose rows are multiples of this, by ``ROCM_PAD_BYTES``.
vLLM 0.33.0 fused_moe/unquantized_fused_moe_method.py, _maybe_pad_weight."""
ROCM_PAD_BYTES = 256.0
ABSORBED = "kv_b_proj"
"""MLA multiplies with a 16-bit copy of this matrix; an unquantized one is its own copy.
vLLM 0.33.0 model_executor/layers/attention/mla_attention.py, process_weights_after_loading."""
QUANTIZABLE = (TensorKind.LINEAR, TensorKind.EXPERT)


@dataclass(frozen=True, slots=True)
class Parallel:
    """How a model is split; ``dp`` copies attention and spreads experts."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    enable_expert_parallel: bool = False

    @property
    def expert_ranks(self) -> int:
        """Ranks that share the experts. vLLM fused_moe/config.py:1106-1260. [1]"""
        return self.tp * self.dp


@dataclass(frozen=True, slots=True)
class Card:
    """What of a GPU decides how weights are laid out: its CUDA capability, or that it is AMD's."""

    capability: float = 0.0
    rocm: bool = False


ANY_CARD = Card()


@dataclass(frozen=True, slots=True)
class Weights:
    """What the fullest rank holds, by kind of tensor, and the total of each pipeline stage. [B]"""

    bytes: float
    by_kind: Mapping[TensorKind, float]
    stages: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """How a model's quantized tensors are stored: the format, its group, and what is left out.

    ``by_checkpoint``: the checkpoint says what it left in 16 bits; otherwise ``ignore`` does.
    """

    format: WeightFormat
    group_size: int | None
    by_checkpoint: bool
    ignore: tuple[str, ...]
    lm_head: bool

    def covers(self, tensor: Tensor) -> bool:
        """Whether this tensor is quantized."""
        if tensor.kind is TensorKind.LM_HEAD:
            return self.lm_head
        if tensor.kind not in QUANTIZABLE or tensor.cols == 1 or not tensor.gemm:
            return False
        if self.format.experts_only and tensor.kind is not TensorKind.EXPERT:
            return False
        if self.by_checkpoint:
            return not tensor.ignored
        return not is_ignored(f"model.layers.0.{tensor.name}", self.ignore)


def stored(model: LlmModel, weight_format: WeightFormat | None) -> Stored | None:
    """How the weights are stored: as asked, or as the checkpoint has them; None = in 16 bits."""
    q = model.quantization
    if weight_format is None:
        if q is None:
            return None
        weight_format = load_weight_format(q.format)
    if weight_format.bits >= HALF_BITS:
        return None
    own = q is not None and q.format == weight_format.id
    group = q.group_size if own and q is not None and q.group_size else weight_format.group_size
    head = own and q is not None and q.quantizes_lm_head
    ignore = () if own else usually_ignored(model.id, weight_format.id)
    return Stored(weight_format, group, own, ignore, head)


def rank_share(tensor: Tensor, split: Parallel) -> tuple[float, float, float]:
    """Rows, columns and number of this tensor on one rank. [1]

    Rows or columns are divided by tp; key/value heads are repeated where there are fewer heads than
    ranks; experts are divided over tp x dp, by whole experts with expert parallelism.

    Examples:
        >>> from fitcalc.catalog.model import Shard, Tensor, TensorKind
        >>> k = Tensor("k_proj", 1024, 8192, TensorKind.LINEAR, Shard.KV, heads=8)
        >>> rank_share(k, Parallel(tp=16))
        (128.0, 8192.0, 1.0)
    """
    rows, cols = float(tensor.rows), float(tensor.cols)
    count, ranks = float(tensor.copies), split.tp
    if tensor.kind is TensorKind.EXPERT:
        ranks = split.expert_ranks
        if split.enable_expert_parallel:
            return rows, cols, count * math.ceil(tensor.experts / ranks)
        count *= tensor.experts
    if tensor.shard is Shard.COLUMN:
        rows /= ranks
    elif tensor.shard is Shard.ROW:
        cols /= ranks
    elif tensor.shard is Shard.KV:
        rows *= max(1, tensor.heads // ranks) / tensor.heads
    elif tensor.shard is Shard.VOCAB:
        rows = math.ceil(rows / VOCAB_PAD) * VOCAB_PAD / ranks
    return rows, cols, count


def rank_sides(
    tensor: Tensor, split: Parallel, how: Stored | None, gpu: Card
) -> tuple[float, float, float]:
    """Rows, columns and number of this tensor on one rank, with what kernels pad. [1]"""
    rows, cols, count = rank_share(tensor, split)
    if how is None or not how.covers(tensor):
        if gpu.rocm and tensor.kind is TensorKind.EXPERT:
            cols += _rocm_padding(cols)
    elif how.format.experts_only:
        rows, cols = _padded(tensor, rows, cols, gpu.capability)
    return rows, cols, count


def tensor_bytes(tensor: Tensor, split: Parallel, how: Stored | None, gpu: Card) -> float:
    """Bytes of one tensor on one rank: scales, padding and copies included. [B]"""
    rows, cols, count = rank_sides(tensor, split, how, gpu)
    if how is None or not how.covers(tensor):
        return rows * cols * count * (tensor.dtype_bytes or HALF)
    size = rows * cols * how.format.bytes_per_param_at(how.group_size)
    copy = rows * cols * HALF if tensor.gemm == ABSORBED else 0.0
    return count * (size + rows * how.format.channel_scale_bytes + copy)


def _padded(tensor: Tensor, rows: float, cols: float, capability: float) -> tuple[float, float]:
    """Rows and columns of an MXFP4 expert after padding."""
    inner = MXFP4_INTERMEDIATE_PAD if capability >= BLACKWELL else TRITON_INTERMEDIATE_PAD
    row_pad, col_pad = (
        (MXFP4_HIDDEN_PAD, inner) if tensor.shard is Shard.ROW else (inner, MXFP4_HIDDEN_PAD)
    )
    return math.ceil(rows / row_pad) * row_pad, math.ceil(cols / col_pad) * col_pad


def _rocm_padding(cols: float) -> float:
    """Columns that ROCm adds to a 16-bit expert, so that rows do not share a memory channel."""
    return 0.0 if cols * HALF % ROCM_STRIDE_BYTES else ROCM_PAD_BYTES / HALF


def stage_layers(num_hidden_layers: int, pp: int) -> tuple[int, ...]:
    """Layers of each pipeline stage: equal shares, the rest to the stages before the last.

    vLLM 0.33.0 distributed/utils.py, get_pp_indices.

    Examples:
        >>> stage_layers(61, 4)
        (15, 15, 16, 15)
    """
    share, rest = divmod(num_hidden_layers, pp)
    sizes = [share] * pp
    for stage in range(2, rest + 2):
        sizes[-stage] += 1
    return tuple(sizes)


@lru_cache(maxsize=65536)
def rank_weight_bytes(
    model: LlmModel,
    weight_format: WeightFormat | None = None,
    *,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    enable_expert_parallel: bool = False,
    gpu: Card = ANY_CARD,
    mtp: bool = False,
) -> Weights:
    """Weights on the fullest rank. [B]

    Args:
        model: The model.
        weight_format: Format of the weights; None = as the checkpoint has them.
        tp: Tensor-parallel ranks.
        pp: Pipeline stages.
        dp: Data-parallel ranks; each holds its own attention.
        enable_expert_parallel: Split experts whole instead of each one.
        gpu: The card, which decides how experts are padded.
        mtp: Whether the multi-token-prediction layers are loaded, to speculate.

    Examples:
        >>> from fitcalc.catalog.model import load_model
        >>> rank_weight_bytes(load_model("llama-3.1-70b")).bytes
        141107412992.0
    """
    split = Parallel(tp, pp, dp, enable_expert_parallel)
    how = stored(model, weight_format)
    layers = tuple(_by_kind(layer.tensors, split, how, gpu) for layer in model.layers)
    stages, first = [], 0
    for stage, count in enumerate(stage_layers(model.num_hidden_layers, pp)):
        held = model.pattern[first : first + count]
        outer = _outer(model, stage, pp, mtp=mtp)
        sums = _by_kind(outer, split, how, gpu)
        for index in set(held):
            times = held.count(index)
            for kind, size in layers[index].items():
                sums[kind] = sums.get(kind, 0.0) + times * size
        stages.append(sums)
        first += count
    totals = tuple(sum(sums.values()) for sums in stages)
    fullest = totals.index(max(totals))
    return Weights(totals[fullest], stages[fullest], totals)


def _by_kind(
    tensors: tuple[Tensor, ...], split: Parallel, how: Stored | None, gpu: Card
) -> dict[TensorKind, float]:
    sums: dict[TensorKind, float] = {}
    for tensor in tensors:
        sums[tensor.kind] = sums.get(tensor.kind, 0.0) + tensor_bytes(tensor, split, how, gpu)
    return sums


def _outer(model: LlmModel, stage: int, pp: int, *, mtp: bool) -> tuple[Tensor, ...]:
    """Return the tensors outside the layers that a stage holds.

    The embedding is on the first stage, and on the last if the head is tied to it.
    """
    first, last = stage == 0, stage == pp - 1
    held = {
        TensorKind.EMBEDDING: first or (last and model.tie_word_embeddings),
        TensorKind.LM_HEAD: last,
        TensorKind.OTHER: last,
        TensorKind.VISION: True,
        TensorKind.MTP: last and mtp,
    }
    return tuple(tensor for tensor in model.outer if held[tensor.kind])
