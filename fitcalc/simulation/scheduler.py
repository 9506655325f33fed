"""vLLM's V1 scheduler: who runs in the next step, and with how many tokens.

The rules are those of vllm/v1/core/sched/scheduler.py (0.33): running requests first, in order;
waiting ones only if nothing was preempted; the head must fit whole; the last one running is
preempted first, loses its blocks and waits in front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fitcalc.simulation.blocks import BlockPool
from fitcalc.simulation.decoding import Decoding
from fitcalc.simulation.timeline import Steps, Timeline, Usage

NOBODY = -1


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """vLLM's settings that decide the schedule, by vLLM's names.

    Attributes:
        max_num_seqs: Sequences in a step at most. [1]
        max_num_batched_tokens: Tokens in a step at most. [tokens]
        num_gpu_blocks: KV blocks, vLLM's null block included. [1]
        block_size: Tokens of a KV block. [tokens]
        enable_chunked_prefill: Whether a prompt may be split over steps.
        async_scheduling: Whether a step is scheduled as the one before it begins, so that
            arrivals and ends are seen one step later (vllm/v1/core/sched/async_scheduler.py).
        enable_prefix_caching: Whether prompts that start alike share their blocks.
        watermark: Share of the blocks kept free on admission beside others
            (vllm/v1/core/kv_cache_manager.py). [1]
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    enable_chunked_prefill: bool = True
    async_scheduling: bool = False
    enable_prefix_caching: bool = True
    watermark: float = 0.0


class Requests:
    """Counters of every request, as plain lists: they are touched one at a time."""

    __slots__ = ("cached", "finish", "first", "isl", "osl", "preemptions", "scheduled", "target")

    def __init__(self, isl: list[int], osl: list[int]) -> None:
        """Take lengths; nothing has happened yet (steps of -1)."""
        count = len(isl)
        self.isl, self.osl = isl, osl
        self.target = list(isl)
        self.scheduled = [NOBODY] * count
        self.first = [NOBODY] * count
        self.finish = [NOBODY] * count
        self.preemptions = [0] * count
        self.cached = [0] * count


class Scheduler:
    """The state between two steps.

    Attributes:
        step: Steps laid down so far, the number of the next one. [1]
        waiting: Requests without a seat, the next in front.
        running: Requests with a seat, in vLLM's order, the ended ones included until freed.
        decoding: Of these, those that decode.
        ended: Requests whose end is not yet seen: (step from which it is, request).
        stalls: (step of the last token, step of the next) where preemption lay between.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        requests: Requests,
        pool: BlockPool,
        timeline: Timeline,
        on_end: Callable[[int], None],
    ) -> None:
        """Start with nobody there; ``on_end`` is told the step in which a request ended."""
        self._settings = settings
        self._watermark = int(settings.watermark * settings.num_gpu_blocks)
        self._all = requests
        self._pool = pool
        self._timeline = timeline
        self._on_end = on_end
        self.step = 0
        self.waiting: deque[int] = deque()
        self.running: dict[int, None] = {}
        self.decoding = Decoding(len(requests.isl), pool.block_size)
        self.ended: deque[tuple[int, int]] = deque()
        self.stalls: list[tuple[int, int]] = []
        self._partial = NOBODY  # the one request whose prompt is not yet whole
        self._computed = 0  # its tokens so far
        self._last_token: dict[int, int] = {}  # of preempted requests, by step

    @property
    def seats(self) -> int:
        """Sequences that could join. [1]"""
        return self._settings.max_num_seqs - len(self.running)

    @property
    def idle(self) -> bool:
        """Whether nobody waits or computes."""
        return not (self.waiting or self.decoding.count or self._partial != NOBODY)

    @property
    def open(self) -> bool:
        """Whether somebody who came now could be looked at in the next step."""
        return self.seats > 0 and self._settings.max_num_batched_tokens > self.decoding.count

    @property
    def mixed(self) -> bool:
        """Whether the next step does more than decode every running sequence."""
        growth = self.decoding.growth(self.step)
        if self._partial != NOBODY or growth > self._pool.free:
            return True
        budget = self._settings.max_num_batched_tokens - self.decoding.count
        return bool(self.waiting) and self._fits(self.waiting[0], budget, self._pool.free - growth)

    def room(self, most: int) -> int:
        """Steps, ``most`` at most, for which free blocks last whoever ends. [1]"""
        return self.decoding.room(self.step, self._pool.free, most)

    def free_ended(self, *, all_of_them: bool = False) -> int:
        """Free seats and blocks of those whose end is seen by now; return how many. [1]"""
        count = 0
        while self.ended and (all_of_them or self.ended[0][0] <= self.step):
            _, request = self.ended.popleft()
            if request in self.running:
                self._free(request)
            count += 1
        return count

    def decode(self, count: int, *, timed: bool) -> None:
        """Lay down ``count`` steps that only decode, and end those that end in them."""
        log = self._timeline.log_timed if timed else self._timeline.log
        last = self.step + count
        decoding, pool = self.decoding, self._pool
        while self.step < last:
            step = self.step
            until = min(last, decoding.first_end() + 1)
            if self.ended:
                until = min(until, self.ended[0][0])
            used = pool.usable - pool.free + decoding.growth(step)
            pool.take(decoding.growth_of(step, until - step))
            log(
                Steps(until - step, decoding.count, decoding.context(step), 0, 0.0, 0),
                Usage(decoding.count, used, pool.usable - pool.free),
            )
            self.step = until
            self._end_decoding()
            if self.step < last:
                self.free_ended()

    def mix(self, refill: Callable[[], bool]) -> bool:
        """Lay down one step by all rules; ``refill`` adds those who have come to ``waiting``.

        Returns:
            False if nothing could be scheduled.
        """
        growth = self.decoding.growth(self.step)
        preempted = growth > self._pool.free
        if preempted:
            self._make_room()
        else:
            self._pool.take(growth)
        decodes, context = self.decoding.count, self.decoding.context(self.step)
        budget = self._settings.max_num_batched_tokens - decodes
        chunks: list[tuple[int, int]] = []  # (tokens before, tokens computed)
        whole: list[int] = []
        if self._partial != NOBODY and budget > 0:
            tokens = self._continue(budget, chunks, whole)
            budget -= tokens
            preempted = preempted or tokens == 0
        if not preempted:
            self._admit(budget, chunks, whole, refill)
        if not decodes and not chunks:
            return False
        tokens = sum(n for _, n in chunks)
        work = sum(n * before + n * n / 2.0 for before, n in chunks)
        used = self._pool.usable - self._pool.free
        self._timeline.log(
            Steps(1, decodes, context, tokens, work, len(whole)),
            Usage(decodes + len(chunks), used, used),
        )
        self.step += 1
        for request in whole:
            self._first_token(request)
        self._end_decoding()
        return True

    def _fits(self, request: int, budget: int, free: int) -> bool:
        """Whether the head of the queue may join beside what this step holds already."""
        if budget <= 0 or self.seats <= 0:
            return False
        target = self._all.target[request]
        hit = self._pool.hit_tokens(request, target)
        if not self._settings.enable_chunked_prefill and target - hit > budget:
            return False
        alone = budget == self._settings.max_num_batched_tokens
        spare = 0 if alone else self._watermark
        return self._pool.needed(request, target, hit) + spare <= free

    def _admit(
        self,
        budget: int,
        chunks: list[tuple[int, int]],
        whole: list[int],
        refill: Callable[[], bool],
    ) -> None:
        """Let waiting requests join, in order, until one does not fit."""
        everyone, pool = self._all, self._pool
        while budget > 0 and self.seats > 0 and (self.waiting or refill()):
            request = self.waiting[0]
            if not self._fits(request, budget, pool.free):
                break
            self.waiting.popleft()
            target = everyone.target[request]
            hit = pool.hit_tokens(request, target)
            tokens = min(target - hit, budget)
            pool.admit(request, hit, hit + tokens)
            self.running[request] = None
            if everyone.scheduled[request] == NOBODY:
                everyone.scheduled[request] = self.step
                everyone.cached[request] = hit
            budget -= tokens
            chunks.append((hit, tokens))
            if hit + tokens == target:
                whole.append(request)
            else:
                self._partial, self._computed = request, hit + tokens

    def _continue(self, budget: int, chunks: list[tuple[int, int]], whole: list[int]) -> int:
        """Compute the next chunk of the unfinished prompt; return its tokens. [tokens]"""
        request, before, pool = self._partial, self._computed, self._pool
        target = self._all.target[request]
        tokens = min(target - before, budget)
        if pool.blocks(before + tokens) - pool.blocks(before) > pool.free:
            self._preempt(request)  # the last one running is this one
            return 0
        pool.extend(request, before, before + tokens)
        chunks.append((before, tokens))
        self._computed = before + tokens
        if self._computed == target:
            whole.append(request)
            self._partial = NOBODY
        return tokens

    def _make_room(self) -> None:
        """Give each sequence, in order, the block it needs; preempt the last one until it fits."""
        growing = [
            request
            for request in self.running
            if request != self._partial
            and self._all.finish[request] == NOBODY
            and self.decoding.grows(request, self.step)
        ]
        for request in growing:
            while request in self.running and self._pool.free < 1:
                self._preempt(next(reversed(self.running)))
            if request in self.running:
                self._pool.take(1)

    def _preempt(self, request: int) -> None:
        """Take a request's blocks; it waits in front and computes all its tokens again.

        One whose last token is still in flight only loses its blocks (asynchronous scheduling).
        """
        everyone = self._all
        everyone.preemptions[request] += 1
        if everyone.finish[request] != NOBODY:
            self._free(request)
            return
        del self.running[request]
        if request == self._partial:
            self._pool.release(request, self._computed)
            self._partial = NOBODY
        else:
            left = self.decoding.remove(request, self.step)
            everyone.target[request] = everyone.isl[request] + everyone.osl[request] - left
            self._last_token[request] = self.step - 1
            self._pool.release(request, self.decoding.tokens(request, self.step))
        self.waiting.appendleft(request)

    def _free(self, request: int) -> None:
        """Free seat and blocks of an ended request."""
        del self.running[request]
        self._pool.release(request, self._all.isl[request] + self._all.osl[request] - 1)

    def _first_token(self, request: int) -> None:
        """Turn a prompt made whole in the step just laid down into a decoding sequence."""
        everyone = self._all
        target = everyone.target[request]
        if everyone.first[request] == NOBODY:
            everyone.first[request] = self.step - 1
        else:
            self.stalls.append((self._last_token.pop(request), self.step - 1))
        left = everyone.isl[request] + everyone.osl[request] - target - 1
        if left == 0:
            self._end(request)
        else:
            self.decoding.add(request, self.step, target, left)

    def _end_decoding(self) -> None:
        """End the sequences whose last token came with the step just laid down."""
        for request in self.decoding.ended(self.step):
            self._end(request)

    def _end(self, request: int) -> None:
        self._all.finish[request] = self.step - 1
        self.ended.append((self.step + self._settings.async_scheduling, request))
        self._on_end(self.step - 1)
