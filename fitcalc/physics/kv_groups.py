"""How vLLM groups layers that share a block pool.

Source: vllm/v1/core/kv_cache_planning.py of vLLM 0.33.0 (before 0.29: kv_cache_utils.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fitcalc.physics.kv_layers import LayerCache, attention_bytes_per_token, state_bytes

__all__ = ["KvGroup", "attention_bytes_per_token", "group", "group_size", "state_bytes", "unify"]


@dataclass(frozen=True, slots=True)
class KvGroup:
    """Layers that share a block table: every request takes blocks for each group.

    ``stage_layers`` is the number of its layers on each pipeline stage; ``bytes_a_block`` what one
    of its blocks takes on each stage. [B]
    """

    cache: LayerCache
    stage_layers: tuple[int, ...]
    stage_bytes: tuple[int, ...]


def unify(caches: Iterable[LayerCache]) -> dict[LayerCache, LayerCache]:
    """Give every cache the largest page: longer blocks where they divide it, padding otherwise.

    Source: ``unify_kv_cache_spec_page_size``.

    Examples:
        >>> from fitcalc.catalog.model import LayerKind
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
