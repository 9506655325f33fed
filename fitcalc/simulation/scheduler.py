"""vLLM's V1 scheduler: who runs in the next step, and with how many tokens.

The rules are those of vllm/v1/core/sched/scheduler.py (0.33): running requests first, in order;
waiting ones only if nothing was preempted; the head must fit whole; the last one running (or the
last by priority) is preempted first, loses its blocks and waits in front.
"""

from __future__ import annotations

from fitcalc.simulation.batch import Batch
from fitcalc.simulation.requests import NOBODY, Requests
from fitcalc.simulation.running import Running
from fitcalc.simulation.settings import SchedulerSettings

__all__ = ["Requests", "Scheduler", "SchedulerSettings"]


class Scheduler(Running):
    """Seats, and those who wait for one."""

    @property
    def mixed(self) -> bool:
        """Whether the next step does more than decode every running sequence."""
        decoding = self.decoding
        if decoding.next_slide() <= self.step:
            decoding.slide(self.step)
        growth = decoding.growth(self.step)
        if self._behind or growth > self._pool.free:
            return True
        if not (self.partial or self.waiting):
            return False
        deferred = self.deferred_steps > 0
        if self.partial and not deferred:
            return True
        if not self.waiting or len(self.running) >= self._seats:
            return False
        if growth > self._pool.blank or decoding.next_slide() <= self.step:
            return True  # what is forgotten or given back may change what the head finds
        return self._fits(
            self.waiting.head(),
            self._settings.max_num_batched_tokens - decoding.count,
            self._most,
            self._pool.free - growth + decoding.given_back(self.step, 1),
            deferred=deferred,
        )

    def decode(self, most: int) -> tuple[int, int, int]:
        """Lay down steps that only decode, ``most`` at most, until one ends or blocks end.

        Returns:
            How many, and the blocks held in the first and the last of them.
        """
        step, decoding, pool = self.step, self.decoding, self._pool
        most = min(most, decoding.first_end() + 1 - step, decoding.next_slide() - step)
        joinable = self.waiting and len(self.running) < self._seats
        free = pool.free
        count = max(1, decoding.room(step, pool.blank if joinable else free, most))
        first = pool.usable - free + decoding.growth(step)
        if count == 1:
            decoding.advance(pool, step, self.running)
        else:
            pool.take(decoding.growth_of(step, count))
            pool.free += decoding.given_back(step, count)
        if not self.deferred_steps:
            self._backed_up = bool(self.waiting)
        self.step = step + count
        return count, first, pool.usable - pool.free

    def mix(self) -> Batch | None:
        """Lay down one step by all rules; ``None`` if nobody can run."""
        deferred = self.deferred_steps > 0
        batch = self._batch(deferred=deferred)
        ran = bool(self.partial) and not deferred
        if not self._all_at_once(batch):
            batch = self._batch(deferred=deferred)
            self._in_order(batch)
        ran = ran and bool(batch.chunks)
        if not batch.preempted:
            ran = self._admit(batch) or ran
            if not deferred:
                self._backed_up = bool(self.waiting)
        batch.late = [request for request in batch.decoded if request in self._behind]
        self._behind = set(batch.left_out)
        for request in batch.left_out:
            self._leave_out(request, slid=request in batch.slid)
        if not batch.decodes and not batch.chunks:
            return self._after_nothing(batch)
        self.step += 1
        if ran:
            self._last_prompt_step = self.step
        return batch

    def _after_nothing(self, batch: Batch) -> Batch | None:
        """Schedule again at once, as vLLM does, if the last ones to run lost their blocks."""
        if not batch.preempted:
            return None
        self.step += 1
        again = self.mix()
        if again is not None:
            again.preempted += batch.preempted
        return again

    def _fits(self, request: int, budget: int, most: int, free: int, *, deferred: bool) -> bool:
        """Whether a waiting request may join beside what the step holds already."""
        pool, target = self._pool, self._all.target[request]
        if budget <= 0:
            return False
        hit = pool.hit_tokens(request, target)
        if deferred and hit < target - 1:
            return False
        chunked = self._settings.enable_chunked_prefill
        if not chunked and min(target - hit, most) > budget:
            return False
        spare = self._watermark if self.running else 0
        computed = hit + min(target - hit, most, budget)
        return pool.needed(request, target, hit, computed) + spare <= free

    def _admit(self, batch: Batch) -> bool:
        """Let waiting requests join, in order, until one does not fit; True if some compute."""
        everyone, pool = self._all, self._pool
        computed = False
        while self.waiting and len(self.running) < self._seats:
            request = self.waiting.head()
            if not self._fits(
                request, batch.budget, batch.most, pool.free, deferred=batch.deferred
            ):
                break
            self.waiting.take()
            target = everyone.target[request]
            hit = pool.hit_tokens(request, target)
            count = min(target - hit, batch.most, batch.budget)
            pool.admit(request, hit, hit + count)
            self.running[request] = None
            if everyone.scheduled[request] == NOBODY:
                everyone.scheduled[request] = self.step
                everyone.cached[request] = hit
                batch.started.append(request)
            self._take(batch, request, hit, count)
            computed = computed or hit < target - 1
        return computed
