"""Decoding sequences as counting: each gains one token a step, so two numbers tell all of one.

A sequence is kept as the step of its last token and an offset: before step s it holds s + offset
KV tokens. It takes a new block in every step s where s + offset is a multiple of the block size.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from fitcalc.simulation.timeline import Steps


class Decoding:
    """The sequences that decode now.

    Attributes:
        count: How many there are. [1]
    """

    __slots__ = ("_ends", "_growing", "_last_step", "_offset", "_offset_sum", "_size", "count")

    def __init__(self, requests: int, block_size: int) -> None:
        """Start with none of ``requests`` decoding."""
        self.count = 0
        self._size = block_size
        self._offset = [0] * requests
        self._last_step = [0] * requests
        self._offset_sum = 0
        self._growing = [0] * block_size  # how many take a block in steps s, by s mod size
        self._ends: list[tuple[int, int]] = []  # (last step, request), sorted

    def add(self, request: int, step: int, tokens: int, left: int) -> None:
        """Let a request with ``tokens`` KV tokens decode ``left`` more from ``step`` on."""
        offset = tokens - step
        self._offset[request] = offset
        self._last_step[request] = step + left - 1
        insort(self._ends, (step + left - 1, request))
        self._count(offset, 1)

    def remove(self, request: int, step: int) -> int:
        """Take a request out before ``step``; return the tokens it would still have made. [1]"""
        last = self._last_step[request]
        del self._ends[bisect_left(self._ends, (last, request))]
        self._count(self._offset[request], -1)
        return last - step + 1

    def ended(self, step: int) -> list[int]:
        """Take out those whose last token came before ``step``."""
        gone: list[int] = []
        for last, request in self._ends:
            if last >= step:
                break
            self._count(self._offset[request], -1)
            gone.append(request)
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

    def grows(self, request: int, step: int) -> bool:
        """Whether one takes a block in ``step``."""
        return self.tokens(request, step) % self._size == 0

    def growth(self, step: int) -> int:
        """Blocks that all take in ``step``. [1]"""
        return self._growing[step % self._size]

    def growth_of(self, step: int, count: int) -> int:
        """Blocks that all take in ``count`` steps from ``step`` on. [1]"""
        rounds, rest = divmod(count, self._size)
        return rounds * self.count + sum(self.growth(step + ahead) for ahead in range(rest))

    def room(self, step: int, free: int, most: int) -> int:
        """Steps from ``step`` on, ``most`` at most, for which free blocks last. [1]"""
        if self.count * (most // self._size + 1) <= free:
            return most
        rounds, free = divmod(free, self.count)
        steps = rounds * self._size
        for ahead in range(self._size):
            free -= self.growth(step + ahead)
            if free < 0:
                break
            steps += 1
        return min(steps, most)

    def ahead(self, step: int, count: int) -> tuple[list[Steps], list[int]]:
        """Foresee ``count`` steps (fewer if all end) in which nobody joins.

        Returns:
            The steps, and for each end the number of steps before its own.
        """
        rows: list[Steps] = []
        ends: list[int] = []
        start, decodes, offsets = step, self.count, self._offset_sum
        for last, request in self._ends:
            if last >= step + count:
                break
            if last >= start:
                context = decodes * (start + 1) + offsets
                rows.append(Steps(last + 1 - start, decodes, context, 0, 0.0, 0))
                start = last + 1
            ends.append(last - step)
            decodes -= 1
            offsets -= self._offset[request]
        if decodes and start < step + count:
            context = decodes * (start + 1) + offsets
            rows.append(Steps(step + count - start, decodes, context, 0, 0.0, 0))
        return rows, ends

    def _count(self, offset: int, sign: int) -> None:
        self.count += sign
        self._offset_sum += sign * offset
        self._growing[-offset % self._size] += sign
