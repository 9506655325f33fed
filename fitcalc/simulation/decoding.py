"""Decoding sequences as counting: each gains one token a step, so two numbers tell all of one.

A sequence is kept as the step of its last token and an offset: before step s it holds s + offset
KV tokens. It takes a block in every step s where s + offset is a multiple of the block size.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable

from fitcalc.simulation.blocks import BlockPool, GroupedBlockPool

NEVER = 1 << 60
"""Steps beyond any run. [1]"""


class Decoding:
    """The sequences that decode now, where every layer keeps every token.

    Attributes:
        count: How many there are. [1]
    """

    __slots__ = ("_ends", "_growing", "_last_step", "_offset", "_offset_sum", "_size", "count")

    def __init__(self, block_size: int) -> None:
        """Start with none decoding."""
        self.count = 0
        self._size = block_size
        self._offset: dict[int, int] = {}
        self._last_step: dict[int, int] = {}
        self._offset_sum = 0
        self._growing = [0] * block_size  # how many take a block in steps s, by s mod size
        self._ends: list[tuple[int, int]] = []  # (last step, request), sorted

    def __contains__(self, request: int) -> bool:
        """Whether a request decodes."""
        return request in self._offset

    def add(self, request: int, step: int, tokens: int, left: int, unsettled: int = 0) -> None:  # noqa: ARG002
        """Let a request with ``tokens`` KV tokens decode ``left`` more from ``step`` on.

        ``unsettled`` of its tokens are computed in the step before, and their window is read.
        """
        offset = tokens - step
        self._offset[request] = offset
        self._last_step[request] = step + left - 1
        insort(self._ends, (step + left - 1, request))
        self.count += 1
        self._offset_sum += offset
        self._growing[-offset % self._size] += 1

    def remove(self, request: int, step: int, *, slid: bool = False) -> int:  # noqa: ARG002
        """Take a request out of ``step``; return the tokens it would still have made. [1]

        ``slid`` says that it has given back its blocks of that step already.
        """
        last = self._last_step.pop(request)
        del self._ends[bisect_left(self._ends, (last, request))]
        self._drop(request)
        return last - step + 1

    def ended(self, step: int) -> list[int]:
        """Take out those whose last token came before ``step``."""
        gone: list[int] = []
        for last, request in self._ends:
            if last >= step:
                break
            gone.append(request)
            del self._last_step[request]
            self._drop(request)
        del self._ends[: len(gone)]
        return gone

    def first_end(self) -> int:
        """Step in which the next one ends."""
        return self._ends[0][0]

    def tokens(self, request: int, step: int) -> int:
        """KV tokens of one before ``step``. [tokens]"""
        return step + self._offset[request]

    def context(self, step: int) -> int:
        """KV tokens that all attend to in ``step``, their newest included. [tokens]"""
        return self.count * (step + 1) + self._offset_sum

    def next_slide(self) -> int:
        """Step before which blocks must be given back that no count foresees. [1]"""
        return NEVER

    def slide(self, step: int) -> None:
        """Give back such blocks."""

    def takes(self, request: int, step: int) -> int:
        """Blocks that one takes in ``step``. [1]"""
        return int((step + self._offset[request]) % self._size == 0)

    def give_back(self, request: int, step: int) -> None:
        """Give back the blocks that one no longer needs in ``step``."""

    def computes(self, request: int, step: int) -> None:
        """Take note that one has its blocks of ``step``."""

    def advance(self, pool: BlockPool, step: int, running: Iterable[int]) -> None:  # noqa: ARG002
        """Take and give back all blocks of ``step``; ``running`` tells who comes first."""
        pool.take(self.growth(step))
        pool.free += self.given_back(step, 1)

    def growth(self, step: int) -> int:
        """Blocks that all take in ``step``. [1]"""
        return self._growing[step % self._size]

    def given_back(self, step: int, count: int) -> int:  # noqa: ARG002
        """Blocks that all give back in ``count`` steps from ``step`` on. [1]"""
        return 0

    def until_given(self, step: int) -> int:  # noqa: ARG002
        """Steps until one, after ``step``, in which blocks are given back. [1]"""
        return NEVER

    def growth_of(self, step: int, count: int) -> int:
        """Blocks that all take in ``count`` steps from ``step`` on. [1]"""
        return _over(self._growing, self.count, step, count)

    def room(self, step: int, free: int, most: int) -> int:
        """Steps from ``step`` on, ``most`` at most, for which free blocks last. [1]"""
        if self.count * (most // self._size + 1) <= free:
            return most
        rounds, free = divmod(free, self.count)
        steps = rounds * self._size
        for ahead in range(self._size):
            free -= self._growing[(step + ahead) % self._size]
            if free < 0:
                break
            steps += 1
        return min(steps, most)

    def _drop(self, request: int) -> None:
        offset = self._offset.pop(request)
        self.count -= 1
        self._offset_sum -= offset
        self._growing[-offset % self._size] -= 1


class GroupedDecoding(Decoding):
    """Decoding sequences whose kinds of layers take blocks at lengths of their own.

    Windows and chunks give blocks back as regularly as they take them, from a step on that is
    known when the sequence starts: until then it waits in a heap.
    """

    __slots__ = ("_caught", "_lag", "_pool", "_rules", "_sliding", "_starts", "_taking")

    def __init__(self, pool: GroupedBlockPool, lag: int) -> None:
        """Start with none decoding.

        Args:
            pool: Where blocks go.
            lag: Tokens of a decoding sequence that are not settled. [tokens]
        """
        super().__init__(1)
        self._pool, self._lag = pool, lag
        self._rules = [(i, rule) for i, rule in enumerate(pool.rules) if rule.block_size]
        self._taking = {i: [0] * rule.block_size for i, rule in self._rules}
        self._sliding: dict[int, Counter[int]] = {
            i: Counter() for i, rule in self._rules if rule.first
        }  # rule -> blocks given back in steps s, by s mod period
        self._starts: list[tuple[int, int, int, int]] = []  # step, request, its offset, rule
        self._caught: dict[int, set[int]] = {}  # request -> rules that give back regularly

    def add(self, request: int, step: int, tokens: int, left: int, unsettled: int = 0) -> None:
        """Let a request with ``tokens`` KV tokens decode ``left`` more from ``step`` on."""
        if unsettled:
            self._pool.settle(request, tokens - unsettled)
        super().add(request, step, tokens, left)
        offset = tokens - step
        self._caught[request] = set()
        for i, rule in self._rules:
            self._taking[i][-offset % rule.block_size] += rule.groups
            if rule.first:
                start = max(step + self._lag, rule.first + self._lag - offset)
                heapq.heappush(self._starts, (start, request, offset, i))

    def remove(self, request: int, step: int, *, slid: bool = False) -> int:
        """Take a request out of ``step``; return the tokens it would still have made. [1]"""
        self._note(request, step + slid)
        return super().remove(request, step)

    def ended(self, step: int) -> list[int]:
        """Take out those whose last token came before ``step``."""
        for last, request in self._ends:
            if last >= step:
                break
            self._note(request, last + 1)
        return super().ended(step)

    def next_slide(self) -> int:
        """Step before which blocks must be given back that no count foresees. [1]"""
        return self._starts[0][0] if self._starts else NEVER

    def slide(self, step: int) -> None:
        """Let sequences catch up that give blocks back from now on."""
        while self._starts and self._starts[0][0] <= step:
            start, request, offset, i = heapq.heappop(self._starts)
            if self._offset.get(request) != offset or i in self._caught[request]:
                continue
            self._pool.settle_rule(request, i, start - 1 + offset - self._lag)
            self._sliding[i][self._phase(offset, i)] += self._pool.rules[i].each
            self._caught[request].add(i)

    def takes(self, request: int, step: int) -> int:
        """Blocks that one takes in ``step``. [1]"""
        tokens = step + self._offset[request]
        return sum(rule.groups for _, rule in self._rules if tokens % rule.block_size == 0)

    def give_back(self, request: int, step: int) -> None:
        """Give back the blocks that one no longer needs in ``step``."""
        offset, rules = self._offset[request], self._pool.rules
        self._pool.free += sum(
            rules[i].each
            for i in self._caught[request]
            if step % rules[i].period == self._phase(offset, i)
        )

    def growth(self, step: int) -> int:
        """Blocks that all take in ``step``. [1]"""
        return sum(taking[step % len(taking)] for taking in self._taking.values())

    def given_back(self, step: int, count: int) -> int:
        """Blocks that all give back in ``count`` steps from ``step`` on. [1]"""
        if count == 1:
            rules = self._pool.rules
            return sum(phases[step % rules[i].period] for i, phases in self._sliding.items())
        total = 0
        for i, phases in self._sliding.items():
            period = self._pool.rules[i].period
            for phase, blocks in phases.items():
                total += blocks * -(-max(0, count - (phase - step) % period) // period)
        return total

    def until_given(self, step: int) -> int:
        """Steps until one, after ``step``, in which blocks are given back. [1]"""
        waits = [
            (phase - step - 1) % self._pool.rules[i].period + 1
            for i, phases in self._sliding.items()
            for phase, blocks in phases.items()
            if blocks
        ]
        return min(waits, default=NEVER)

    def growth_of(self, step: int, count: int) -> int:
        """Blocks that all take in ``count`` steps from ``step`` on. [1]"""
        return sum(_over(taking, sum(taking), step, count) for taking in self._taking.values())

    def room(self, step: int, free: int, most: int) -> int:
        """Steps for which free blocks last even if none is given back. [1]"""
        if self.growth_of(step, most) <= free:
            return most
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            if self.growth_of(step, middle) <= free:
                low = middle
            else:
                high = middle
        return low

    def _phase(self, offset: int, i: int) -> int:
        rule = self._pool.rules[i]
        return (rule.first + self._lag - offset) % rule.period

    def _note(self, request: int, step: int) -> None:
        """Tell the pool what a sequence has given back regularly before ``step``."""
        offset = self._offset[request]
        for i in self._caught[request]:
            self._pool.settle_rule(request, i, step - 1 + offset - self._lag, noted=True)

    def _drop(self, request: int) -> None:
        offset = self._offset[request]
        super()._drop(request)
        caught = self._caught.pop(request)
        for i, rule in self._rules:
            self._taking[i][-offset % rule.block_size] -= rule.groups
            if i in caught:
                self._sliding[i][self._phase(offset, i)] -= rule.each


def _over(counts: list[int], each_round: int, step: int, steps: int) -> int:
    """Sum of periodic counts over ``steps`` steps from ``step`` on."""
    size = len(counts)
    rounds, rest = divmod(steps, size)
    first = step % size
    over = first + rest - size
    return rounds * each_round + sum(counts[first : first + rest]) + sum(counts[: max(over, 0)])
