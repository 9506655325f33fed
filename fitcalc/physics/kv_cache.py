"""The KV cache: bytes of a block, blocks of a request, and how many requests a pool holds.

Source: vllm/v1/core/kv_cache_planning.py and kv_cache_utils.py of vLLM 0.33.0, and of the older
releases where a version is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fitcalc.catalog.formats import KvFormat
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import LayerKind, LlmModel, TensorKind
from fitcalc.inputs.engine import ResolvedEngine, release
from fitcalc.physics.kv_groups import KvGroup, group
from fitcalc.physics.kv_layers import LayerCache, layer_caches, lone_states, state_blocks
from fitcalc.physics.weights import stage_layers
from fitcalc.units import MAX_TOKENS, Values

_TRIES = 64


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
    caches = layer_caches(model, engine, kv, gpu)
    counts = list(stage_layers(model.num_hidden_layers, engine.pipeline_parallel_size))
    order = list(model.pattern)
    if engine.num_speculative_tokens and any(t.kind is TensorKind.MTP for t in model.outer):
        order.append(order[-1])  # vLLM loads one multi-token-prediction layer, on the last stage
        counts[-1] += 1
    stages = tuple(range(sum(counts[:s]), sum(counts[: s + 1])) for s in range(len(counts)))
    padding = 1.5 if version >= (0, 18) else 1.25 if version >= (0, 12) else 1.0
    kept: list[LayerCache | None] = []
    for stage in stages:
        here = [order[i] for i in stage]
        kept += lone_states(model, engine, here, [caches[i] for i in here])
    groups = group(kept, stages, padding)
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
        state_blocks=state_blocks(model, engine, gpu),
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

    The log line "GPU KV cache size" of vLLM from 0.21 on.
    """
    return np.floor(max_concurrency(layout, kv_bytes) * layout.max_model_len)


def logged_tokens(layout: KvLayout, kv_bytes: Values, version: str) -> Values:
    """Tokens that vLLM's log line "GPU KV cache size" would print. [tokens]

    Until 0.20 it was blocks x block size / groups, which for several groups is no capacity
    (vllm/v1/core/kv_cache_utils.py, ``_report_kv_cache_config``).
    """
    if release(version) >= (0, 21):
        return kv_tokens(layout, kv_bytes)
    shared = np.floor(num_blocks(layout, kv_bytes) / max(len(layout.groups), 1))
    return shared * layout.block_size * layout.context_parallel


def needed_bytes(layout: KvLayout) -> float:
    """KV bytes without which vLLM does not start: one request of ``max_model_len``. [B]"""
    return float((layout.blocks_per_request + layout.null_blocks) * layout.bytes_per_block)


def longest_len(layout: KvLayout, kv_bytes: float) -> int:
    """Return the largest max_model_len for which one request fits; 0 if none does. [tokens]"""
    usable = float(num_blocks(layout, kv_bytes)) - layout.null_blocks
    low, high = 0, MAX_TOKENS
    while low < high:
        tries = np.unique(np.ceil(np.linspace(low + 1, high, _TRIES)))
        fitting = int(np.count_nonzero(reserved_blocks(layout, tries) <= usable))
        low, high = (
            int(tries[fitting - 1]) if fitting else low,
            int(tries[fitting]) - 1 if fitting < len(tries) else high,
        )
    return low


def _max_in_flight(engine: ResolvedEngine) -> int:
    """Tokens that may be scheduled but not settled (vllm/config/vllm.py, from 0.26 on)."""
    batches = 1
    if release(engine.version) >= (0, 26):
        batches = engine.pipeline_parallel_size + int(engine.async_scheduling)
    return batches * engine.max_num_batched_tokens
