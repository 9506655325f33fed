"""Decoding over several groups of layers with a prefix cache, where the order of blocks matters.

Steps in which only blank blocks are given back are counted. Where a cached block leaves a window,
or a block is given back while cached ones must be forgotten, those who take or give go one by one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from fitcalc.simulation.blocks import BlockPool
from fitcalc.simulation.decoding import GroupedDecoding
from fitcalc.simulation.hybrid import HybridBlockPool


class HybridDecoding(GroupedDecoding):
    """The sequences that decode now, over a pool with cached blocks."""

    __slots__ = ("_cache", "_givers", "_regular", "_takers", "_unsettled")

    def __init__(self, pool: HybridBlockPool, lag: int) -> None:
        """Start with none decoding.

        Args:
            pool: Where blocks go.
            lag: Tokens of a decoding sequence that are not settled. [tokens]
        """
        super().__init__(pool, lag)
        self._cache = pool
        self._regular: dict[int, dict[int, int]] = {}  # request -> rule -> step it is regular from
        self._takers: dict[tuple[int, int], set[int]] = defaultdict(set)  # by rule and phase
        self._givers: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._unsettled: dict[int, tuple[int, int]] = {}  # request -> step it came, tokens then

    def add(self, request: int, step: int, tokens: int, left: int, unsettled: int = 0) -> None:
        """Let a request with ``tokens`` KV tokens decode ``left`` more from ``step`` on."""
        super().add(request, step, tokens, left)
        offset = tokens - step
        self._unsettled[request] = step, unsettled
        self._regular[request] = {}
        completes = self._cache.completes(request, tokens)
        if completes:
            heapq.heappush(self._starts, (completes - 1 + self._lag - offset, request, offset, 0))
        for i, rule in self._rules:
            self._takers[i, -offset % rule.block_size].add(request)
            if not rule.first:
                continue
            start = max(step + self._lag, rule.first + self._lag - offset)
            self._regular[request][i] = start
            if unsettled and tokens - unsettled >= rule.first:
                heapq.heappush(self._starts, (step, request, offset, i))
            if rule.slides:
                for block in self._cache.cached_ahead(request, i):
                    leaves = rule.first + block * rule.period + self._lag - offset
                    if leaves > start:
                        heapq.heappush(self._starts, (leaves, request, offset, i))

    def slide(self, step: int) -> None:
        """Forget what is over; what is due comes at each sequence's turn."""
        starts = self._starts
        while starts and (starts[0][0] < step or self._offset.get(starts[0][1]) != starts[0][2]):
            heapq.heappop(starts)

    def advance(self, pool: BlockPool, step: int, running: Iterable[int]) -> None:
        """Take and give back all blocks of ``step``; ``running`` tells who comes first."""
        due = self._due(step)
        growth, given = self.growth(step), self.given_back(step, 1)
        if growth <= pool.blank:
            given -= sum(self._gives(request, step) for request in due)
            pool.take(growth)
            pool.free += given
            for request in self._by_turn(due, running):
                self.give_back(request, step)
                self.computes(request, step)
        elif due or given:
            for i, rule in self._rules:
                due |= self._takers.get((i, step % rule.block_size), set())
                due |= self._givers.get((i, step % rule.period), set())
            for request in self._by_turn(due, running):
                self.give_back(request, step)
                pool.take(self.takes(request, step))
                self.computes(request, step)
        else:
            pool.take(growth)

    def give_back(self, request: int, step: int) -> None:
        """Give back the blocks that one no longer needs in ``step``."""
        offset = self._offset[request]
        settled = step + offset - self._lag
        came, unsettled = self._unsettled[request]
        if step == came:
            settled = step + offset - unsettled
        for i, start in self._regular[request].items():
            rule, caught = self._pool.rules[i], i in self._caught[request]
            if caught:
                self._pool.settle_rule(request, i, step - 1 + offset - self._lag, noted=True)
            self._pool.settle_rule(request, i, settled)
            if step < start or caught:
                continue
            if rule.slides:
                phase = self._phase(offset, i)
                self._sliding[i][phase] += rule.each
                self._givers[i, phase].add(request)
                self._caught[request].add(i)
            else:
                ahead = (rule.first + self._lag - offset - step - 1) % rule.period + 1
                heapq.heappush(self._starts, (step + ahead, request, offset, i))

    def computes(self, request: int, step: int) -> None:
        """Take note that one has its blocks of ``step``."""
        self._cache.complete(request, step + self._offset[request] + 1 - self._lag)

    def room(self, step: int, free: int, most: int) -> int:
        """Steps for which free blocks last, and no order among takers and givers matters. [1]"""
        most = super().room(step, free, most)
        quiet = 0 if self.given_back(step, 1) else min(most, self.until_given(step))
        blank = self._cache.blank
        return max(quiet, super().room(step, blank, most) if blank else 0)

    def _due(self, step: int) -> set[int]:
        """Take out those for whom no count foresees what they give back in ``step``."""
        due = set()
        while self._starts and self._starts[0][0] <= step:
            _, request, offset, _ = heapq.heappop(self._starts)
            if self._offset.get(request) == offset:
                due.add(request)
        return due

    def _gives(self, request: int, step: int) -> int:
        """Blocks that one gives back regularly in ``step``. [1]"""
        offset, rules = self._offset[request], self._pool.rules
        return sum(
            rules[i].each
            for i in self._caught[request]
            if step % rules[i].period == self._phase(offset, i)
        )

    @staticmethod
    def _by_turn(some: set[int], running: Iterable[int]) -> Iterable[int]:
        return some if len(some) < 2 else [request for request in running if request in some]

    def _drop(self, request: int) -> None:
        offset = self._offset[request]
        for i, rule in self._rules:
            self._takers[i, -offset % rule.block_size].discard(request)
            if i in self._caught[request]:
                self._givers[i, self._phase(offset, i)].discard(request)
        super()._drop(request)
        del self._regular[request], self._unsettled[request]
