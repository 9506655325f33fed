"""What prompts that start alike take of a server's KV cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.kv_cache import KvLayout, kv_bytes_per_request
from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.units import Array


def shares_blocks(traffic: Traffic, *, prefix_caching: bool) -> bool:
    """Whether requests hold blocks together: who only names a hit rate names no shared text."""
    return prefix_caching and traffic.prefix_tokens > 0


def prefix_room(traffic: Traffic, layouts: Sequence[KvLayout], kv_bytes: Array) -> PrefixRoom:
    """Return the room of servers, one layout and one KV cache a row."""
    prefix = float(traffic.prefix_tokens)
    tokens = (prefix, max(traffic.held - prefix, 1.0), max(traffic.context - prefix, 1.0))
    taken: dict[int, tuple[float, ...]] = {}
    for layout in layouts:
        if id(layout) not in taken:
            taken[id(layout)] = tuple(float(kv_bytes_per_request(layout, n)) for n in tokens)
    one, held, left = np.array([taken[id(layout)] for layout in layouts]).reshape(-1, 3).T
    return PrefixRoom(kv_bytes, one, held, left, traffic.num_prefixes)


def requests_held(
    traffic: Traffic, layout: KvLayout, kv_bytes: Array, *, prefix_caching: bool
) -> Array:
    """Requests that run at once in so much KV cache, on average. [1], as ``kv_bytes``"""
    flat = np.asarray(kv_bytes, dtype=np.float64).reshape(-1)
    if shares_blocks(traffic, prefix_caching=prefix_caching):
        return prefix_room(traffic, [layout] * len(flat), flat).most.reshape(np.shape(kv_bytes))
    request = float(kv_bytes_per_request(layout, traffic.held))
    return np.asarray(kv_bytes / max(request, 1.0))
