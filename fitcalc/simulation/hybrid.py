"""The prefix cache where kinds of layers differ: all tokens, a window, or a chunk.

vLLM's rules (vllm/v1/core, 0.33, prefix_cache_retention_interval at its default of 0): windows
cache only the blocks that a prompt's last aligned position sees, and those at a junction, where
somebody found a prefix that other layers had and the windows had not. Blocks without a hash go to
the front of the free queue, cached ones to its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import accumulate

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.blocks import BlockRule, GroupedBlockPool
from fitcalc.simulation.lookup import CachedBlock, Copies, Key, Prefix, longest_prefix

_Home = dict[Key, list[CachedBlock]]


class HybridBlockPool(GroupedBlockPool):
    """A pool with vLLM's prefix cache over several groups of layers.

    A block is known by the text that it ends: the trace's hash at its last token, whichever came
    before it, and its place. What lies behind a prompt's whole hashes is the request's own.
    """

    __slots__ = (
        "_align", "_asleep", "_cached", "_chains", "_changes", "_held", "_homes", "_isl",
        "_junction", "_last", "_prefix", "_trace",
    )  # fmt: skip

    def __init__(self, num_gpu_blocks: int, rules: tuple[BlockRule, ...], trace: Trace) -> None:
        """Open the pool with nothing cached."""
        super().__init__(num_gpu_blocks, rules)
        self._trace = trace
        self._isl: list[int] = trace.isl.tolist()
        self._align = math.lcm(*(rule.block_size for rule in rules))
        self._homes: list[tuple[_Home, ...]] = [
            tuple({} for _ in range(rule.groups)) for rule in rules
        ]
        self._asleep: dict[CachedBlock, None] = {}  # held by nobody, oldest first
        self._held: dict[int, list[dict[int, Copies]]] = {}  # request -> its cached, by rule
        self._cached: dict[int, list[int]] = {}  # request -> blocks looked at, by rule
        self._junction: dict[int, int] = {}
        self._chains: dict[int, tuple[int, ...]] = {}
        self._changes = 0
        self._last = (-1, 0, 0)  # request, limit and changes of the last look-up
        self._prefix = Prefix(0, (), 0)

    @property
    def blank(self) -> int:
        """Free blocks that hold nothing cached. [1]"""
        return self.free - len(self._asleep)

    def completes(self, request: int, tokens: int) -> int:
        """Tokens after which blocks of the prompt are cached that are not yet; 0 = none. [tokens]

        Only multiples of the blocks of all kinds of layers are cached.
        """
        aligned = tokens // self._align * self._align
        known = len(self._chain(request)) * self._trace.hash_block_tokens
        return aligned + self._align if known > aligned else 0

    def complete(self, request: int, tokens: int) -> None:
        """Cache blocks that are complete after so many tokens, where every token is kept."""
        if self._align > self.block_size:
            for k, rule in enumerate(self.rules):
                if not rule.first:
                    self._cache(request, k, tokens)

    def cached_ahead(self, request: int, number: int) -> Iterable[int]:
        """Blocks of one kind of layers that a request holds and that are cached."""
        return self._held[request][number]

    def hit_tokens(self, request: int, target: int) -> int:
        """Leading tokens that every kind of layers has; at least one is left. [tokens]"""
        asked = request, target - 1, self._changes
        if asked != self._last:
            self._last = asked
            cached = [self._lookup(request, k) for k in range(len(self.rules))]
            self._prefix = longest_prefix(self.rules, cached, target - 1, self._align)
        return self._prefix.tokens

    def needed(self, request: int, target: int, hit: int, computed: int) -> int:
        """Free blocks to be found for the whole length, and for the first chunk. [1]"""
        self.hit_tokens(request, target)
        whole = chunk = 0
        for rule, blocks in zip(self.rules, self._prefix.blocks, strict=True):
            gone = rule.given_back(hit) // rule.groups
            there = max(gone, len(blocks))
            asleep = sum(not block.users for copies in blocks[gone:] if copies for block in copies)
            first = -(-computed // rule.block_size)
            whole += max(rule.to_find(target) - rule.groups * there, 0) + asleep
            chunk += max(first - there, 0) * rule.groups + asleep
        return max(whole, chunk)

    def admit(self, request: int, hit: int, computed: int) -> None:
        """Hold what hit, take blocks for the first chunk and cache what it completes."""
        prefix = self._prefix if hit else Prefix(0, [[] for _ in self.rules], 0)
        self._junction[request] = self._prefix.junction if self._last[0] == request else 0
        self._held[request] = [{} for _ in self.rules]
        self._given[request] = [rule.given_back(hit) for rule in self.rules]
        self._cached[request] = [len(blocks) for blocks in prefix.blocks]
        for k, rule in enumerate(self.rules):
            first = self._given[request][k] // rule.groups
            for i, copies in enumerate(prefix.blocks[k][first:], first):
                if copies is not None:
                    self._held[request][k][i] = copies
                    self._wake(copies)
        self.extend(request, hit, computed)

    def extend(self, request: int, before: int, after: int) -> None:
        """Take blocks for a chunk and cache what it completes."""
        self.take(self.blocks(after) - self.blocks(before))
        for k in range(len(self.rules)):
            self._cache(request, k, after)

    def settle_rule(self, request: int, number: int, settled: int, *, noted: bool = False) -> None:
        """Give back blocks of one kind of layers; if ``noted``, they already count as free."""
        rule = self.rules[number]
        given, before = rule.given_back(settled), self._given[request][number]
        if given <= before:
            return
        if not noted:
            if not rule.slides:
                self._cache(request, number, settled)
            self._let_go(request, number, before // rule.groups, given // rule.groups)
        self._given[request][number] = given

    def take(self, count: int) -> None:
        """Take free blocks, forgetting the oldest cached ones where no other is left."""
        self.free -= count
        while len(self._asleep) > self.free:
            oldest = next(iter(self._asleep))
            del self._asleep[oldest]
            alike = oldest.home[oldest.key]
            alike.remove(oldest)
            if not alike:
                del oldest.home[oldest.key]
            self._changes += 1

    def release(self, request: int, computed: int, known: int) -> None:
        """Let go of a request's blocks: cached ones wait for the next who asks."""
        for k, rule in enumerate(self.rules):
            self._cache(request, k, known)
            first = self._given[request][k] // rule.groups
            self._let_go(request, k, first, -(-computed // rule.block_size))
        for notes in (self._held, self._given, self._cached, self._junction):
            del notes[request]

    def warm_up(self, request: int, tokens: int) -> None:
        """Cache a prompt as if somebody had asked it before and left."""
        if self.blocks(tokens) <= self.free:
            self.admit(request, 0, tokens)
            self.release(request, tokens, tokens)

    def ended(self, request: int) -> None:
        """Forget the hashes of a request that is over; its blocks sleep on."""
        self._chains.pop(request, None)

    def _lookup(self, request: int, number: int) -> Callable[[int], Copies | None]:
        homes, size = self._homes[number], self.rules[number].block_size

        def cached(i: int) -> Copies | None:
            key = self._key(request, (i + 1) * size)
            alike = [home.get(key) for home in homes]
            return tuple(blocks[0] for blocks in alike if blocks) if all(alike) else None

        return cached

    def _key(self, request: int, end: int) -> Key:
        """Return what tells a block from others: its text and where it ends."""
        chain = self._chain(request)
        place = (end - 1) // self._trace.hash_block_tokens
        return (chain[place] if place < len(chain) else ~request), end

    def _chain(self, request: int) -> tuple[int, ...]:
        """Hashes of a prompt's leading whole hash blocks, each with all before it."""
        chain = self._chains.get(request)
        if chain is None:
            ids = () if self._trace.hash_ids is None else self._trace.hash_ids[request]
            whole = ids[: self._isl[request] // self._trace.hash_block_tokens]
            links = accumulate(whole, lambda before, own: hash((before, own)), initial=0)
            chain = self._chains[request] = tuple(links)[1:]
        return chain

    def _cache(self, request: int, number: int, tokens: int) -> None:
        """Cache blocks that ``tokens`` complete and that somebody may ask for."""
        rule, done = self.rules[number], self._cached[request][number]
        count = tokens // self._align * self._align // rule.block_size
        if count <= done:
            return
        self._cached[request][number] = count
        held, gone = self._held[request][number], self._given[request][number] // rule.groups
        for i in self._worth(request, rule, done, count):
            if i >= gone:
                key = self._key(request, (i + 1) * rule.block_size)
                held[i] = tuple(CachedBlock(home, key) for home in self._homes[number])
                for block in held[i]:
                    block.home.setdefault(key, []).append(block)
                self._changes += 1

    def _worth(self, request: int, rule: BlockRule, first: int, last: int) -> Iterable[int]:
        """Blocks from ``first`` to ``last`` that a later prompt may go on from."""
        if not rule.slides:
            return range(first, last)
        worth: set[int] = set()
        for tokens in (self._isl[request] - 1, self._junction[request]):
            end = tokens // self._align * self._align // rule.block_size
            worth.update(range(max(first, end - rule.tail), min(last, end)))
        return sorted(worth)

    def _let_go(self, request: int, number: int, first: int, last: int) -> None:
        """Give back blocks from the last to the first, group after group."""
        held = self._held[request][number]
        cached = [held.pop(i) for i in range(last - 1, first - 1, -1) if i in held]
        groups = self.rules[number].groups
        self.free += groups * (max(last - first, 0) - len(cached))
        for group in range(groups):
            for copies in cached:
                block = copies[group]
                block.users -= 1
                if not block.users:
                    self._asleep[block] = None
                    self.free += 1

    def _wake(self, copies: Copies) -> None:
        for block in copies:
            if not block.users:
                del self._asleep[block]
                self.free -= 1
            block.users += 1
