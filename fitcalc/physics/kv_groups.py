"""What each layer keeps of the past, and how vLLM groups the layers that share a block pool.

Source: vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_planning.py of vLLM 0.33.0 (before
0.29: vllm/v1/core/kv_cache_utils.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fitcalc.catalog.formats import KvFormat
from fitcalc.catalog.model import Attention, LayerKind, LlmModel, State, StateKind

BLOCK_SIZE = 16
"""Default tokens a block (vllm/config/cache.py, ``DEFAULT_BLOCK_SIZE``)."""
SPARSE_MLA_BLOCK_SIZE = 64
"""Block of the sparse MLA backends (vllm/v1/attention/backends/mla/flashmla_sparse.py)."""
STATE_MLA_ALIGN = 128
"""Hybrids of MLA and state align blocks to it (vllm/platforms/interface.py; 64 before 0.26)."""
_INDEXER_GROUP, _INDEXER_SCALE_BYTES = 128, 4
"""The sparse indexer keeps fp8 keys and a 4-byte scale for each 128 (deepseek_v2.py)."""
_DS_MLA_GROUP = 128
"""``fp8_ds_mla``: fp8 latent, a 4-byte scale for each 128, and a 16-bit rope part."""
_HALF_BYTES, _SCALE_BYTES = 2, 4
_GROWING = (LayerKind.FULL, LayerKind.MLA)


@dataclass(frozen=True, slots=True)
class LayerCache:
    """What one layer allocates: a page of ``page_bytes`` for every block. [B]

    ``block_size`` is tokens a block holds (0 for a state, which is one block whatever the
    length); ``window`` the sliding window or chunk. [tokens]
    """

    kind: LayerKind
    page_bytes: int
    block_size: int
    window: int | None = None

    @property
    def grows(self) -> bool:
        """Whether it keeps every token."""
        return self.kind in _GROWING


@dataclass(frozen=True, slots=True)
class KvGroup:
    """Layers that share a block table: every request takes blocks for each group.

    ``stage_layers`` is the number of its layers on each pipeline stage; ``bytes_a_block`` what one
    of its blocks takes on each stage. [B]
    """

    cache: LayerCache
    stage_layers: tuple[int, ...]
    stage_bytes: tuple[int, ...]


def attention_bytes_per_token(a: Attention, kv: KvFormat, tp: int, *, packed_mla: bool) -> int:
    """Cache bytes of one token in one attention layer on one rank. [B]

    Keys and values of ``max(1, kv heads // tp)`` heads; an MLA layer keeps one latent and one
    rope part that every rank repeats, and a sparse one its indexer's keys besides
    (vllm/v1/kv_cache_interface.py; vllm/model_executor/layers/attention/mla_attention.py).

    Args:
        a: The layer.
        kv: How keys and values are stored.
        tp: Tensor parallel ranks.
        packed_mla: Whether a one-byte MLA entry is stored as ``fp8_ds_mla``.
    """
    if a.kind is not LayerKind.MLA:
        heads = max(1, a.num_key_value_heads // tp)
        element = kv.bytes_per_element + kv.scale_bytes_per_element
        per_head = (a.head_dim + a.v_head_dim) * element + kv.scale_bytes_per_head
        return math.ceil(heads * per_head)
    latent, rope = a.kv_lora_rank, a.qk_rope_head_dim
    if kv.mla_bytes_per_token is not None:
        entry = kv.mla_bytes_per_token
    elif packed_mla and a.index_topk and kv.bytes_per_element == 1:
        entry = latent + latent // _DS_MLA_GROUP * _SCALE_BYTES + rope * _HALF_BYTES
    else:
        entry = (latent + rope) * kv.bytes_per_element
    index = a.index_head_dim + a.index_head_dim // _INDEXER_GROUP * _INDEXER_SCALE_BYTES
    return math.ceil(entry) + index


def state_bytes(s: State, tp: int, speculative: int = 0) -> int:
    """Bytes of one sequence's state in one layer on one rank. [B]

    Source: vllm/model_executor/layers/mamba/mamba_utils.py, ``MambaStateShapeCalculator``:
    speculative tokens lengthen the convolution; Mamba-2 copies groups that tp does not divide.
    """
    total = 0
    for part in s.shapes:
        shape = list(part.shape)
        if part.name == "conv":
            if s.kind is StateKind.MAMBA2:
                shape[part.tp_axis] += _copied_groups(s, shape[part.tp_axis], tp)
            if s.kind is not StateKind.MAMBA1:
                shape[-1] += speculative
        shape[part.tp_axis] = math.ceil(shape[part.tp_axis] / tp)
        total += math.prod(shape) * part.dtype_bytes
    return total


def _copied_groups(s: State, conv: int, tp: int) -> int:
    groups = (conv - s.num_heads * s.head_dim) // (2 * s.state_size)
    return 0 if groups % tp == 0 else 2 * (tp - groups) * s.state_size


def unify(caches: Iterable[LayerCache]) -> dict[LayerCache, LayerCache]:
    """Give every cache the largest page: longer blocks where they divide it, padding otherwise.

    Source: ``unify_kv_cache_spec_page_size``.

    Examples:
        >>> small = LayerCache(LayerKind.SLIDING, 100, 16, window=128)
        >>> large = LayerCache(LayerKind.FULL, 200, 16)
        >>> unify([small, large])[small].block_size
        32
    """
    distinct = set(caches)
    largest = max(c.page_bytes for c in distinct)
    unified = {}
    for cache in distinct:
        scale, rest = divmod(largest, cache.page_bytes)
        longer = cache.block_size * scale if cache.block_size and not rest else cache.block_size
        unified[cache] = replace(cache, page_bytes=largest, block_size=longer)
    return unified


def group_size(counts: Iterable[int], padding: float) -> int:
    """Layers of a group: the fewest of any kind, or the most where padding costs little.

    Source: ``_get_kv_cache_groups_uniform_page_size``; ``padding`` is 1.5 from vLLM 0.18 on, 1.25
    from 0.12 on, and 1 before.

    Examples:
        >>> group_size([52, 10], 1.5)
        10
        >>> group_size([12, 13], 1.5)
        13
    """
    fewest, most = min(counts), max(counts)
    return most if most < fewest * padding else fewest


def group(
    caches: list[LayerCache | None], stages: tuple[range, ...], padding: float
) -> tuple[KvGroup, ...]:
    """Group the layers of a model, given in order, over its pipeline stages.

    One kind of cache, or only caches that grow: one group of all. Otherwise equal pages, and
    groups of equally many layers, each kind dealt round-robin over its groups.
    """
    present = [c for c in caches if c is not None]
    kinds = {(c.kind, c.window) for c in present}
    if len(kinds) == 1 or all(c.grows for c in present):
        pages = [[c.page_bytes for i in s if (c := caches[i])] for s in stages]
        return (
            KvGroup(present[0], tuple(map(len, pages)), tuple(map(sum, pages))),
        ) if present else ()  # fmt: skip
    unified = unify(present)
    places: dict[LayerCache, list[int]] = {}
    for i, cache in enumerate(caches):
        if cache is not None:
            places.setdefault(unified[cache], []).append(i)
    size = group_size([len(p) for p in places.values()], padding)
    groups = []
    for cache, layers in places.items():
        dealt = math.ceil(len(layers) / size)
        for first in range(dealt):
            mine = layers[first::dealt]
            held = tuple(sum(i in s for i in mine) for s in stages)
            groups.append(KvGroup(cache, held, tuple(n * cache.page_bytes for n in held)))
    return tuple(groups)


def layer_stages(layers: int, pp: int) -> tuple[range, ...]:
    """Layers of each pipeline stage; the later stages but the last take what does not divide.

    Source: vllm/distributed/utils.py, ``get_pp_indices``.

    Examples:
        >>> [len(stage) for stage in layer_stages(62, 4)]
        [15, 16, 16, 15]
    """
    counts = [layers // pp] * pp
    for i in range(2, layers % pp + 2):
        counts[-i] += 1
    ends = [sum(counts[: i + 1]) for i in range(pp)]
    return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))


def has_state(model: LlmModel) -> bool:
    """Whether any layer keeps a recurrent state (vLLM calls such models hybrid)."""
    return any(isinstance(layer.mixer, State) for layer in model.layers)
