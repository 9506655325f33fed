"""Which pool of blocks a question needs."""

from __future__ import annotations

import numpy as np

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.blocks import BlockPool, GroupedBlockPool
from fitcalc.simulation.cache import CachedBlockPool
from fitcalc.simulation.hybrid import HybridBlockPool
from fitcalc.simulation.settings import SchedulerSettings


def open_pool(
    trace: Trace, settings: SchedulerSettings, prefix_hit: float, prefix_tokens: int
) -> BlockPool:
    """Open a pool with the prefix cache that the question describes.

    Where kinds of layers differ and prompts have no hashes, nothing is looked up: nobody could
    hit but a preempted request itself, and the count of blocks is many times faster.

    Args:
        trace: Who comes, perhaps with the hashes of what they ask.
        settings: vLLM's settings.
        prefix_hit: Share of every prompt that hits; it is given, not found. [1]
        prefix_tokens: Tokens that all prompts start with; likewise. [tokens]
    """
    size, blocks, rules = settings.block_size, settings.num_gpu_blocks, settings.block_rules
    caching = settings.enable_prefix_caching
    if not caching or not (prefix_hit or prefix_tokens):
        if rules and trace.hash_ids is not None and settings.finds_prefixes:
            return HybridBlockPool(blocks, rules, trace)
        if rules:
            return GroupedBlockPool(blocks, rules)
        return CachedBlockPool(blocks, size, trace) if caching else BlockPool(blocks, size)
    most = (trace.isl - 1) // size * size
    share = (prefix_hit * trace.isl).astype(np.int64) // size * size
    shared = prefix_tokens // size
    hits = np.minimum(np.maximum(share, shared * size), most).tolist()
    if rules:
        return GroupedBlockPool(blocks, rules, hits)
    return BlockPool(blocks, size, hits, shared)
