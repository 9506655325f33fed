"""The KV cache: bytes of a block, blocks of a request, and how many requests a pool holds.

Source: vllm/v1/core/kv_cache_planning.py and kv_cache_utils.py of vLLM 0.33.0, and of the older
releases where a version is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.catalog.formats import KvFormat
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import Attention, LayerKind, LlmModel, State
from fitcalc.inputs.engine import ResolvedEngine, release
from fitcalc.physics.kv_groups import (
    BLOCK_SIZE,
    SPARSE_MLA_BLOCK_SIZE,
    STATE_MLA_ALIGN,
    KvGroup,
    LayerCache,
    attention_bytes_per_token,
    group,
    has_state,
    layer_stages,
    state_bytes,
)
from fitcalc.units import MAX_TOKENS, Values

_BLACKWELL, _HOPPER = 10, 9


@dataclass(frozen=True, slots=True)
class KvLayout:
    """How the KV cache of one rank is laid out.

    Attributes:
        groups: Layers that share a block table.
        stage_bytes: Bytes of one block on each pipeline stage. [B]
        bytes_per_block: The largest of them. [B]
        block_size: Fewest tokens in a block of any group. [tokens]
        context_parallel: Ranks that share the tokens of a sequence. [1]
        max_in_flight: Tokens scheduled but not yet settled, which windows keep besides. [tokens]
        state_blocks: State blocks a request holds in each state group. [1]
        max_model_len: Longest request. [tokens]
        blocks_per_request: Blocks that a request of ``max_model_len`` reserves. [1]
        kv_bytes_per_token: Marginal bytes of a token of a long context on one rank. [B]
        null_blocks: Blocks kept back at the start-up check. [1]
    """

    groups: tuple[KvGroup, ...]
    stage_bytes: tuple[int, ...]
    bytes_per_block: int
    block_size: int
    context_parallel: int
    max_in_flight: int
    state_blocks: int
    max_model_len: int
    blocks_per_request: int
    kv_bytes_per_token: float
    null_blocks: int


def kv_layout(model: LlmModel, engine: ResolvedEngine, kv: KvFormat, gpu: Gpu) -> KvLayout:
    """Lay out the KV cache as that vLLM does on that GPU."""
    version = release(engine.version)
    caches = _layer_caches(model, engine, kv, gpu)
    stages = layer_stages(model.num_hidden_layers, engine.pipeline_parallel_size)
    padding = 1.5 if version >= (0, 18) else 1.25 if version >= (0, 12) else 1.0
    groups = group([caches[i] for i in model.pattern], stages, padding)
    stage_bytes = tuple(
        max((g.stage_bytes[s] for g in groups), default=0) for s in range(len(stages))
    )
    per_block = max(stage_bytes, default=0)
    dcp = engine.decode_context_parallel_size
    growing = [g for g in groups if g.cache.grows]
    layout = KvLayout(
        groups=groups,
        stage_bytes=stage_bytes,
        bytes_per_block=per_block,
        block_size=min((g.cache.block_size for g in groups if g.cache.block_size), default=0),
        context_parallel=dcp,
        max_in_flight=_max_in_flight(engine),
        state_blocks=(2 if engine.enable_prefix_caching else 1) + engine.num_speculative_tokens,
        max_model_len=engine.max_model_len,
        blocks_per_request=0,
        kv_bytes_per_token=sum(per_block / (g.cache.block_size * dcp) for g in growing),
        null_blocks=1 if version >= (0, 29) else 0,
    )
    blocks = int(reserved_blocks(layout, float(engine.max_model_len)))
    return replace(layout, blocks_per_request=blocks)


def reserved_blocks(layout: KvLayout, tokens: Values) -> Values:
    r"""Blocks that vLLM reserves for one request of at most ``tokens``. [1]

    $$\sum_g \lceil L/b_g \rceil \text{ (all tokens)},\;
      \lceil \min(w-1+f, L)/b_g \rceil + 1 \text{ (window)},\;
      \lceil \min(c+f, L)/b_g \rceil \text{ (chunk)},\; s \text{ (state)}$$

    with $f$ tokens in flight.

    References:
        vllm/v1/kv_cache_interface.py, ``max_memory_usage_bytes`` and
        ``max_admission_blocks_per_request``.
    """
    total: Values = 0.0
    for g in layout.groups:
        cache = g.cache
        window = cache.window or 0
        if cache.kind is LayerKind.STATE:
            total = total + layout.state_blocks
        elif cache.kind is LayerKind.SLIDING:
            kept = np.minimum(window - 1 + layout.max_in_flight, tokens)
            total = total + np.ceil(kept / cache.block_size) + 1
        elif cache.kind is LayerKind.CHUNKED:
            kept = np.minimum(window + layout.max_in_flight, tokens)
            total = total + np.ceil(kept / cache.block_size)
        else:
            share = np.ceil(tokens / layout.context_parallel)
            total = total + np.ceil(share / cache.block_size)
    return total


def kv_bytes_per_request(layout: KvLayout, tokens: Values) -> Values:
    r"""Bytes that a running request of ``tokens`` holds on one rank, on average. [B]

    A group that keeps all tokens holds $L/b + (b-1)/2b$ blocks (the mean of $\lceil L/b \rceil$
    over lengths); a window holds no more than its tokens; a state does not grow.
    """
    blocks: Values = 0.0
    for g in layout.groups:
        cache, size = g.cache, g.cache.block_size
        if cache.kind is LayerKind.STATE:
            blocks = blocks + layout.state_blocks
            continue
        kept = tokens if cache.window is None else np.minimum(tokens, cache.window)
        blocks = blocks + kept / (size * layout.context_parallel) + (size - 1) / (2.0 * size)
    return blocks * layout.bytes_per_block


def num_blocks(layout: KvLayout, kv_bytes: Values) -> Values:
    """Blocks that fit in ``kv_bytes`` on the fullest rank. [1]"""
    if not layout.bytes_per_block:
        return np.zeros_like(kv_bytes) + 1.0
    return np.floor(np.maximum(kv_bytes, 0.0) / layout.bytes_per_block)


def max_concurrency(layout: KvLayout, kv_bytes: Values) -> Values:
    """Requests of ``max_model_len`` that the pool holds, as vLLM logs it. [1]

    References:
        vllm/v1/core/kv_cache_utils.py, ``get_max_concurrency_for_kv_cache_config``.
    """
    return num_blocks(layout, kv_bytes) / max(layout.blocks_per_request, 1)


def kv_tokens(layout: KvLayout, kv_bytes: Values) -> Values:
    """Tokens that the pool holds in requests of ``max_model_len``. [tokens]

    The log line "GPU KV cache size" of vLLM from 0.26 on; before, hybrids logged blocks x block
    size / groups, which is no capacity.
    """
    return np.floor(max_concurrency(layout, kv_bytes) * layout.max_model_len)


def needed_bytes(layout: KvLayout) -> float:
    """KV bytes without which vLLM does not start: one request of ``max_model_len``. [B]"""
    return float((layout.blocks_per_request + layout.null_blocks) * layout.bytes_per_block)


def longest_len(layout: KvLayout, kv_bytes: float) -> int:
    """Return the largest max_model_len for which one request fits; 0 if none does. [tokens]"""
    usable = float(num_blocks(layout, kv_bytes)) - layout.null_blocks
    low, high = 0, MAX_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        if float(reserved_blocks(layout, float(middle))) <= usable:
            low = middle
        else:
            high = middle - 1
    return low


def _layer_caches(
    model: LlmModel, engine: ResolvedEngine, kv: KvFormat, gpu: Gpu
) -> tuple[LayerCache | None, ...]:
    """Return what each distinct layer keeps, page and block chosen as vLLM's backends choose."""
    tp = engine.tensor_parallel_size
    mixers = [layer.mixer for layer in model.layers]
    attentions = [m for m in mixers if isinstance(m, Attention) and not m.shares_kv]
    packed = gpu.capability < _BLACKWELL
    per_token = {a: attention_bytes_per_token(a, kv, tp, packed_mla=packed) for a in attentions}
    block = engine.block_size or _default_block_size(attentions, engine, gpu)
    states = {
        s: state_bytes(s, tp, engine.num_speculative_tokens) for s in mixers if isinstance(s, State)
    }
    page = 0
    if states and attentions:
        main = next((a for a in attentions if a.kind is LayerKind.FULL), attentions[0])
        align = _state_align(main, engine)
        token = per_token[main]
        largest = max(states.values())
        block = max(block, align * math.ceil(largest / (align * token)))
        page = block * token
    grows = LayerKind.MLA, LayerKind.FULL
    whole = any(a.kind in grows for a in attentions)
    promoted = whole and any(a.kind is LayerKind.CHUNKED for a in attentions)
    caches: list[LayerCache | None] = []
    for mixer in mixers:
        if isinstance(mixer, State):
            caches.append(LayerCache(LayerKind.STATE, max(page, states[mixer]), 0))
        elif mixer is None or mixer.shares_kv:
            caches.append(None)
        elif promoted or mixer.kind in grows:
            kind = mixer.kind if mixer.kind in grows else LayerKind.FULL
            caches.append(LayerCache(kind, block * per_token[mixer], block))
        else:
            caches.append(LayerCache(mixer.kind, block * per_token[mixer], block, mixer.window))
    return tuple(caches)


def _default_block_size(attentions: list[Attention], engine: ResolvedEngine, gpu: Gpu) -> int:
    """Tokens a block where --block-size is open: 16, or what the MLA backend takes.

    Sparse MLA takes 64; dense MLA took 64 on Hopper until 0.11.1 (FlashMLA), 128 on data-centre
    Blackwell until 0.14 (CUTLASS), 64 until 0.17 and 32 since (FlashInfer)
    (vllm/platforms/cuda.py).
    """
    if not any(a.kind is LayerKind.MLA for a in attentions):
        return BLOCK_SIZE
    if any(a.index_topk for a in attentions):
        return SPARSE_MLA_BLOCK_SIZE
    version, major = release(engine.version), int(gpu.capability)
    if major == _BLACKWELL:
        return 128 if version < (0, 15) else 64 if version < (0, 18) else 32
    if major == _HOPPER and version <= (0, 11) and not engine.version.startswith("0.11.2"):
        return 64
    return BLOCK_SIZE


def _state_align(main: Attention, engine: ResolvedEngine) -> int:
    """Return the multiple of which a hybrid's attention block must be. [tokens]"""
    if main.kind is not LayerKind.MLA:
        return BLOCK_SIZE
    return STATE_MLA_ALIGN if release(engine.version) >= (0, 26) else 64


def _max_in_flight(engine: ResolvedEngine) -> int:
    """Tokens that may be scheduled but not settled (vllm/config/vllm.py, from 0.26 on)."""
    batches = 1
    if release(engine.version) >= (0, 26):
        batches = engine.pipeline_parallel_size + int(engine.async_scheduling)
    return batches * engine.max_num_batched_tokens


__all__ = [
    "KvLayout",
    "has_state",
    "kv_bytes_per_request",
    "kv_layout",
    "kv_tokens",
    "longest_len",
    "max_concurrency",
    "needed_bytes",
    "num_blocks",
    "reserved_blocks",
]
