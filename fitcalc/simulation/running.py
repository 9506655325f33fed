"""Requests with a seat: who computes in a step, and who loses its blocks for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fitcalc.inputs.engine import SchedulingPolicy
from fitcalc.simulation.batch import Batch
from fitcalc.simulation.blocks import BlockPool, GroupedBlockPool
from fitcalc.simulation.decoding import Decoding, GroupedDecoding
from fitcalc.simulation.hybrid import HybridBlockPool
from fitcalc.simulation.hybrid_decoding import HybridDecoding
from fitcalc.simulation.requests import NOBODY, Requests
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.simulation.waiting import ArrivalQueue, PriorityQueue


class Running:
    """The state between two steps.

    Attributes:
        step: Steps laid down so far, the number of the next one. [1]
        waiting: Requests without a seat.
        running: Requests with a seat, in vLLM's order, the ended ones included until freed.
        partial: Of these, those whose prompt is not yet whole, with their tokens so far.
        decoding: Of these, those that decode.
        ended: Requests whose end is not yet seen: (step from which it is, request).
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        requests: Requests,
        pool: BlockPool,
        on_stall: Callable[[int], None],
    ) -> None:
        """Start with nobody there.

        Args:
            settings: vLLM's settings.
            requests: Counters to keep.
            pool: Free KV blocks.
            on_stall: Told a request that makes no token in a step between two of its tokens.
        """
        self._settings = settings
        self._watermark = int(settings.watermark * settings.num_gpu_blocks)
        self._seats = settings.seats
        self._lag = int(settings.async_scheduling)
        self._all = requests
        self._pool = pool
        self._on_stall = on_stall
        self.step = 0
        priority = settings.policy == SchedulingPolicy.PRIORITY
        self.waiting = PriorityQueue(requests) if priority else ArrivalQueue()
        self.running: dict[int, None] = {}
        self.partial: dict[int, int] = {}
        self.decoding = Decoding(pool.block_size)
        if isinstance(pool, HybridBlockPool):
            self.decoding = HybridDecoding(pool, self._lag)
        elif isinstance(pool, GroupedBlockPool):
            self.decoding = GroupedDecoding(pool, self._lag)
        self.ended: deque[tuple[int, int]] = deque()
        self._chunk: dict[int, tuple[int, int]] = {}  # partial request -> its last (step, tokens)
        self._behind: set[int] = set()  # decoding requests left out of the last step
        self._last_prompt_step = -settings.prefill_schedule_interval
        self._backed_up = False  # a step that took prompts left some waiting

    @property
    def idle(self) -> bool:
        """Whether nobody waits or computes."""
        return not (self.waiting or self.decoding.count or self.partial)

    @property
    def deferred_steps(self) -> int:
        """Steps from now for which prompts wait while others decode. [1]"""
        interval = self._settings.prefill_schedule_interval
        if interval == 1 or self._backed_up or len(self.running) == len(self.partial):
            return 0
        return max(0, self._last_prompt_step + interval - 1 - self.step)

    @property
    def _most(self) -> int:
        """Tokens of one prompt in a step at most. [tokens]"""
        threshold = self._settings.long_prefill_token_threshold
        if threshold and len(self.running) + len(self.waiting) > 1:
            return threshold
        return self._settings.max_num_batched_tokens

    def _batch(self, *, deferred: bool) -> Batch:
        """Open a step in which every decoding sequence gets its token."""
        count = self.decoding.count
        context = self.decoding.context(self.step) if count else 0
        budget = self._settings.max_num_batched_tokens
        return Batch(budget - count, self._most, deferred, count, context)

    def sampled(self, request: int) -> bool:
        """Let a request decode whose prompt is whole; say whether that was its last token."""
        everyone = self._all
        target = everyone.target[request]
        left = everyone.isl[request] + everyone.osl[request] - target - 1
        if not left:
            return True
        self.decoding.add(request, self.step, target, left, self._lag * self._chunk[request][1])
        return False

    def end(self, request: int) -> None:
        """Take note that a request has all its tokens; its blocks go when that is seen."""
        self._all.finish[request] = self.step - 1
        self.ended.append((self.step + self._lag, request))

    def free_ended(self, *, all_of_them: bool = False) -> None:
        """Free seats and blocks of those whose end is seen by now."""
        while self.ended and (all_of_them or self.ended[0][0] <= self.step):
            request = self.ended.popleft()[1]
            if request in self.running:
                self._free(request)

    def _all_at_once(self, batch: Batch) -> bool:
        """Give every sequence its block, then the last one its chunk; False if order matters."""
        pool, decoding = self._pool, self.decoding
        growth = decoding.growth(self.step)
        if growth > pool.free or self._behind:
            return False
        last = None
        if self.partial and not batch.deferred:
            request = next(reversed(self.running))
            if len(self.partial) > 1 or request not in self.partial:
                return False
            before = self.partial[request]
            count = min(self._all.target[request] - before, batch.most, batch.budget)
            if growth + pool.growth(request, before, before + count) > pool.free:
                return False
            last = (request, before, count) if count > 0 else None
        decoding.advance(pool, self.step, self.running)
        if last is not None:
            self._compute(batch, *last)
        return True

    def _in_order(self, batch: Batch) -> None:
        """Schedule running requests one by one, preempting others where blocks are short."""
        pool, decoding, step, target = self._pool, self.decoding, self.step, self._all.target
        batch.budget += batch.decodes
        for request in list(self.running):
            if batch.budget <= 0:
                break
            before = self.partial.get(request, NOBODY)
            if before != NOBODY and not batch.deferred:
                self._settle(request, before)
                count = min(target[request] - before, batch.most, batch.budget)
                if self._make_room(request, pool.growth(request, before, before + count), batch):
                    self._compute(batch, request, before, count)
            elif before == NOBODY and request in decoding:
                decoding.give_back(request, step)
                batch.slid.add(request)
                needed = decoding.takes(request, step)
                if self._make_room(request, needed, batch):
                    pool.take(needed)
                    decoding.computes(request, step)
                    batch.decoded[request] = None
                    batch.budget -= 1
        batch.decodes = len(batch.decoded)
        batch.context = sum(decoding.tokens(request, step) + 1 for request in batch.decoded)
        batch.left_out = [r for r in self.running if r in decoding and r not in batch.decoded]

    def _make_room(self, request: int, needed: int, batch: Batch) -> bool:
        """Preempt until a request finds its blocks; False if it was the one to go."""
        while request in self.running and needed > self._pool.free:
            victim = next(reversed(self.running))
            if self.waiting.ordered:
                victim = max(self.running, key=self._all.rank)
            self._preempt(victim, batch)
        return request in self.running

    def _preempt(self, request: int, batch: Batch) -> None:
        """Take a request's blocks; it waits in front and computes all its tokens again.

        One whose last token is still in flight only loses its blocks (asynchronous scheduling).
        """
        everyone, decoding = self._all, self.decoding
        batch.preempted += 1
        everyone.preemptions[request] += 1
        if everyone.finish[request] != NOBODY:
            self._free(request, in_flight=self._lag)
            return
        del self.running[request]
        computed = self.partial.pop(request, NOBODY)
        for chunk in batch.chunks:
            if chunk[0] == request:
                computed = chunk[1] + chunk[2]
                batch.budget += chunk[2]
                batch.chunks.remove(chunk)
                batch.whole = [other for other in batch.whole if other != request]
                break
        known = computed
        if request in decoding:
            computed = decoding.tokens(request, self.step)
            if request in batch.decoded:
                del batch.decoded[request]
                batch.budget += 1
                computed += 1
            known = computed - self._lag * (computed > everyone.target[request])
            left = decoding.remove(request, self.step, slid=request in batch.slid)
            everyone.target[request] = everyone.isl[request] + everyone.osl[request] - left
            self._behind.discard(request)
            self._on_stall(request)
        self._pool.release(request, computed, known)
        self.waiting.put_back(request)

    def _leave_out(self, request: int, *, slid: bool) -> None:
        """Let a sequence make its next token a step later."""
        tokens = self.decoding.tokens(request, self.step)
        left = self.decoding.remove(request, self.step, slid=slid)
        self.decoding.add(request, self.step + 1, tokens, left)
        self._on_stall(request)

    def _compute(self, batch: Batch, request: int, before: int, count: int) -> None:
        """Compute the next chunk of a prompt that is not whole."""
        self._settle(request, before)
        self._pool.extend(request, before, before + count)
        self._take(batch, request, before, count)

    def _settle(self, request: int, before: int) -> None:
        """Give back blocks below a window; those of a chunk in flight are still read."""
        step, tokens = self._chunk[request]
        in_flight = tokens if self._lag and step == self.step - 1 else 0
        self._pool.settle(request, before - in_flight)

    def _take(self, batch: Batch, request: int, before: int, count: int) -> None:
        """Put a chunk into the step."""
        batch.chunks.append((request, before, count))
        batch.budget -= count
        self._chunk[request] = self.step, count
        if before + count == self._all.target[request]:
            self.partial.pop(request, None)
            batch.whole.append(request)
        else:
            self.partial[request] = before + count

    def _free(self, request: int, in_flight: int = 0) -> None:
        """Free seat and blocks of an ended request, its last token perhaps ``in_flight``."""
        del self.running[request]
        self._chunk.pop(request, None)
        computed = self._all.isl[request] + self._all.osl[request] - 1
        known = computed - in_flight * (computed > self._all.target[request])
        self._pool.release(request, computed, known)
        self._pool.ended(request)
