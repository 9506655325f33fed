"""The longest cached prefix of a prompt where kinds of layers cache different blocks.

As vLLM's hybrid coordinator finds it (vllm/v1/core/kv_cache_coordinator.py, 0.33): each kind of
layers accepts a length or offers a shorter one, until all agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fitcalc.simulation.blocks import BlockRule

Key = tuple[int, int]
"""What tells a block from others: the text up to its end, and where that is."""


class CachedBlock:
    """A block whose tokens are known: where it is listed, and requests that hold it."""

    __slots__ = ("home", "key", "users")

    def __init__(self, home: dict[Key, list[CachedBlock]], key: Key) -> None:
        """List a block of a request that has just computed it."""
        self.home = home
        self.key = key
        self.users = 1


Copies = tuple[CachedBlock, ...]
"""The same block of each of several equal groups of layers."""

Cached = Callable[[int], Copies | None]
"""Copies of a prompt's n-th block, if all groups have it."""


class Prefix(NamedTuple):
    """A cached prefix.

    Attributes:
        tokens: Its length. [tokens]
        blocks: Its blocks by kind of layers; ``None`` = not needed.
        junction: End of a longer prefix that only some kinds of layers have; 0 = none. [tokens]
    """

    tokens: int
    blocks: Sequence[Sequence[Copies | None]]
    junction: int


def longest_prefix(
    rules: Sequence[BlockRule], cached: Sequence[Cached], limit: int, align: int
) -> Prefix:
    """Find the longest prefix that every kind of layers can go on from.

    Args:
        rules: How each kind of layers keeps its blocks.
        cached: What each has.
        limit: Longest prefix asked for. [tokens]
        align: What its length must be a multiple of. [tokens]
    """
    order = sorted(range(len(rules)), key=lambda k: rules[k].first > 0)
    simple = len(rules) == 2 and not rules[order[0]].first
    found: list[list[Copies | None]] = [[] for _ in rules]
    whole: dict[int, int] = {}  # rule without a window -> what it has, looked up once
    hit, longest = limit, 0
    while True:
        length = hit
        for k in order:
            if k in whole:
                length = min(length, whole[k])
                continue
            found[k] = _find(rules[k], cached[k], length, align)
            length = len(found[k]) * rules[k].block_size
            if not rules[k].first:
                whole[k] = length
            longest = max(longest, length)
        if length >= hit:
            break
        hit = length
        if simple:
            break
    for k in whole:
        del found[k][hit // rules[k].block_size :]
    return Prefix(hit, found, longest if longest > hit else 0)


def _find(rule: BlockRule, cached: Cached, limit: int, align: int) -> list[Copies | None]:
    if rule.slides:
        return _find_window(rule, cached, limit, align)
    size = rule.block_size
    blocks: list[Copies | None] = []
    if rule.first:  # a chunk: what came before it is not looked at
        blocks = [None] * (limit // rule.period * rule.period // size)
    for i in range(len(blocks), limit // size):
        copies = cached(i)
        if copies is None:
            break
        blocks.append(copies)
    del blocks[len(blocks) * size // align * align // size :]
    return blocks


def _find_window(rule: BlockRule, cached: Cached, limit: int, align: int) -> list[Copies | None]:
    """Find the last place with as many blocks before it as the window sees, or the start's."""
    size = rule.block_size
    count = limit // size
    blocks: list[Copies | None] = [None] * count
    together = 0
    for i in range(count - 1, -1, -1):
        copies = cached(i)
        if copies is None:
            together = 0
            continue
        if not together and (i + 1) * size % align:
            continue
        blocks[i] = copies
        together += 1
        if together >= rule.tail:
            return blocks[: i + together]
    return blocks[: together * size // align * align // size]
