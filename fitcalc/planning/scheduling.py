"""One configuration as vLLM's scheduler sees it: limits, policy, blocks of each kind of layer."""

from __future__ import annotations

from collections import Counter

from fitcalc.answers import MemoryLedger
from fitcalc.catalog.model import LayerKind
from fitcalc.physics.kv_cache import KvLayout, kv_layout, num_blocks
from fitcalc.planning.setup import Setup
from fitcalc.simulation.blocks import BlockRule
from fitcalc.simulation.settings import SchedulerSettings

_BLOCK = 16


def settings_of(setup: Setup, ledger: MemoryLedger) -> SchedulerSettings:
    """Return the scheduler's settings, with the blocks of each group of layers as vLLM lays out."""
    layout = kv_layout(setup.model, setup.engine, setup.kv, setup.gpu)
    rules = block_rules(layout)
    plain = len(rules) == 1 and rules[0] == BlockRule(rules[0].block_size)
    blocks = float(num_blocks(layout, ledger.kv_cache_bytes))
    return SchedulerSettings(
        max_num_seqs=setup.engine.max_num_seqs,
        max_num_batched_tokens=setup.engine.max_num_batched_tokens,
        num_gpu_blocks=max(2, int(blocks)),
        block_size=min((r.block_size for r in rules if r.block_size), default=_BLOCK),
        enable_chunked_prefill=setup.engine.enable_chunked_prefill,
        async_scheduling=setup.engine.async_scheduling,
        enable_prefix_caching=setup.engine.enable_prefix_caching,
        policy=setup.engine.scheduling_policy,
        max_num_active_seqs=setup.engine.max_num_active_seqs,
        long_prefill_token_threshold=setup.engine.long_prefill_token_threshold,
        prefill_schedule_interval=setup.engine.prefill_schedule_interval,
        watermark=setup.engine.watermark,
        block_rules=() if plain else rules,
    )


def block_rules(layout: KvLayout) -> tuple[BlockRule, ...]:
    """Say how a sequence takes blocks in each kind of layers; equal groups make one rule."""
    groups = Counter(g.cache for g in layout.groups)
    rules: list[BlockRule] = []
    for cache, count in groups.items():
        size = cache.block_size * (layout.context_parallel if cache.window is None else 1)
        if cache.kind is LayerKind.STATE:
            rules.append(BlockRule.state(layout.state_blocks, count))
        elif cache.kind is LayerKind.SLIDING and cache.window:
            rules.append(BlockRule.sliding(size, cache.window, layout.max_in_flight, count))
        elif cache.kind is LayerKind.CHUNKED and cache.window:
            rules.append(BlockRule.chunked(size, cache.window, layout.max_in_flight, count))
        else:
            rules.append(BlockRule(size, count))
    return tuple(rules)
