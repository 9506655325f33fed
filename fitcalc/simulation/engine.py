"""One vLLM engine in time: the scheduler's steps, the clock, and what may be skipped.

The clock is read only where it decides something: when a request that came now would be looked
at. Everything else is laid down untimed and timed later in one call. Decode-only stretches that
wait for the next arrival are foreseen whole, through the ends of sequences, and cut at the
arrival. The answer is that of a step-by-step run, which ``skip=False`` makes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import inf

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace
from fitcalc.physics.step import StepTimes
from fitcalc.simulation.arrivals import OpenLoop
from fitcalc.simulation.blocks import BlockPool, HashedBlockPool
from fitcalc.simulation.scheduler import Requests, Scheduler, SchedulerSettings
from fitcalc.simulation.timeline import Timeline

Progress = Callable[[float], None]

_FORESEEN = 4096
"""Steps foreseen in one call at most; more would only wait in memory."""
_UNTIMED = 1 << 16
"""Steps laid down before they are timed at most."""


class Engine:
    """A replica that serves requests of a trace.

    Attributes:
        requests: What happened to each request, in steps.
        timeline: The steps and their times.
        scheduler: The state between two steps.
    """

    def __init__(
        self,
        model: StepTimes,
        trace: Trace,
        settings: SchedulerSettings,
        arrivals: OpenLoop,
        *,
        prefix_hit: float = 0.0,
        prefix_tokens: int = 0,
        skip: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Check that every request can be served alone, and start idle at 0 s.

        Args:
            model: Time of a step.
            trace: The requests; ``arrivals`` says when they come.
            settings: vLLM's settings.
            arrivals: The loop that sends the requests.
            prefix_hit: Share of each prompt that the prefix cache serves. [1]
            prefix_tokens: Tokens at the start of every prompt that all share. [tokens]
            skip: Whether to time many steps at once.
            progress: Told the share of requests that have ended.

        Raises:
            InvalidValue: the settings make no sense, or a request can never run.
        """
        self.timeline = Timeline(model)
        self.requests = Requests(trace.isl.tolist(), trace.osl.tolist())
        self.arrivals = arrivals
        self._ended_steps: list[int] = []
        self._skip, self._progress = skip, progress
        self._ahead = settings.async_scheduling
        self._pool = _pool(trace, settings, prefix_hit, prefix_tokens)
        _check(trace, settings, self._pool)
        self.scheduler = Scheduler(
            settings, self.requests, self._pool, self.timeline, self._note_end
        )
        self._pace_s = 0.0

    @property
    def usable_blocks(self) -> int:
        """KV blocks that can hold tokens. [1]"""
        return self._pool.usable

    def ended_by(self, time_s: float) -> int:
        """Requests that have ended by a time that has been simulated. [1]"""
        return bisect_right(self._ended_steps, time_s, key=self.timeline.end_s)

    def run(self, until_s: float = inf) -> None:
        """Serve until everybody has been served, or no step is scheduled before ``until_s``."""
        scheduler = self.scheduler
        while True:
            self._free()
            if until_s < inf and self._now() >= until_s:
                return
            if scheduler.idle and not self._wake():
                return
            if scheduler.mixed or not scheduler.decoding.count:
                if not scheduler.mix(self._refill):
                    self._idle()
            elif (
                scheduler.waiting or not scheduler.open or not (self.arrivals.more or until_s < inf)
            ):
                self._decode_until_end()
            else:
                self._decode_until_arrival(until_s)
            if not self._skip or scheduler.step - self.timeline.timed > _UNTIMED:
                self._evaluate()

    def _free(self, *, all_of_them: bool = False) -> None:
        for _ in range(self.scheduler.free_ended(all_of_them=all_of_them)):
            follower = self.arrivals.freed()
            if follower is not None:
                self.scheduler.waiting.append(follower)

    def _now(self) -> float:
        """Time at which the next step is scheduled. [s]"""
        self._evaluate()
        return self.timeline.decided_s(ahead=self._ahead)

    def _evaluate(self) -> None:
        self.timeline.evaluate()
        self.arrivals.settle(self.timeline)

    def _refill(self) -> bool:
        """Let those who have come by now wait; say whether anybody waits."""
        if not self.arrivals.more:
            return False
        self.scheduler.waiting.extend(self.arrivals.due(self._now()))
        return bool(self.scheduler.waiting)

    def _idle(self) -> None:
        """Nothing can be scheduled until the ends in flight are seen."""
        if not self.scheduler.ended:
            raise AssertionError("the scheduler is stuck")
        self._evaluate()
        self.timeline.rest()
        self._free(all_of_them=True)

    def _wake(self) -> bool:
        """Let an empty engine's clock run to the next arrival; say whether there is one."""
        if self._refill():
            return True
        self._evaluate()
        self.timeline.rest()
        self._free(all_of_them=True)
        if self.scheduler.waiting:
            return True
        if self.arrivals.next_s == inf:
            return False
        self.timeline.wait_until(self.arrivals.next_s)
        self.scheduler.waiting.extend(self.arrivals.due(self.timeline.now_s))
        return True

    def _decode_until_end(self) -> None:
        """Decode to the next end: nobody can join before."""
        scheduler = self.scheduler
        most = scheduler.decoding.first_end() + 1 - scheduler.step
        if scheduler.ended:
            most = min(most, scheduler.ended[0][0] - scheduler.step)
        scheduler.decode(scheduler.room(most) if self._skip else 1, timed=False)

    def _decode_until_arrival(self, until_s: float) -> None:
        """Decode until somebody comes: time more steps than needed in one call, take the first."""
        scheduler, timeline, arrivals = self.scheduler, self.timeline, self.arrivals
        most = scheduler.room(self._horizon(until_s))
        rows, ending = scheduler.decoding.ahead(scheduler.step, most)
        durations, ends = timeline.foresee(rows)
        arrivals.settle(timeline)
        came = min(arrivals.next_s, arrivals.follow_s(ends[ending]), until_s)
        scheduled = np.concatenate(([timeline.decided_s(ahead=self._ahead)], ends[:-1]))
        if self._ahead:
            scheduled[1:] = np.concatenate(([timeline.now_s], ends[:-2]))[: len(ends) - 1]
        count = int(np.searchsorted(scheduled, came, side="left"))
        if count:
            self._pace_s = float(durations[count - 1])
            timeline.accept(durations[:count], ends[:count])
            scheduler.decode(count, timed=True)
            arrivals.settle(timeline)
        scheduler.waiting.extend(arrivals.due(timeline.decided_s(ahead=self._ahead)))

    def _horizon(self, until_s: float) -> int:
        """Steps worth foreseeing: until the next arrival that is known, or expected. [1]"""
        if not self._skip:
            return 1
        if self._pace_s == 0.0:
            return 16
        gap_s = min(self.arrivals.next_s, until_s) - self.timeline.now_s
        known = int(gap_s / self._pace_s * 1.05) + 3 if gap_s < inf else _FORESEEN
        first_end = self.scheduler.decoding.first_end() - self.scheduler.step
        follow = first_end + 1 + self.arrivals.follow_steps(self._pace_s)
        return max(1, min(known, follow, _FORESEEN))

    def _note_end(self, step: int) -> None:
        self.arrivals.ended(step)
        self._ended_steps.append(step)
        count, ended = len(self.requests.isl), len(self._ended_steps)
        if self._progress is not None and ended % max(1, count // 100) == 0:
            self._progress(ended / count)


def _pool(
    trace: Trace, settings: SchedulerSettings, prefix_hit: float, prefix_tokens: int
) -> BlockPool:
    """Blocks with the prefix cache that the question describes."""
    size = settings.block_size
    if not settings.enable_prefix_caching:
        return BlockPool(settings.num_gpu_blocks, size, [0] * len(trace), 0)
    if trace.hash_ids is not None:
        return HashedBlockPool(settings.num_gpu_blocks, size, trace)
    most = (trace.isl - 1) // size * size
    share = (prefix_hit * trace.isl).astype(np.int64) // size * size
    shared = prefix_tokens // size
    hits = np.minimum(np.maximum(share, shared * size), most)
    return BlockPool(settings.num_gpu_blocks, size, hits.tolist(), shared)


def _check(trace: Trace, settings: SchedulerSettings, pool: BlockPool) -> None:
    """Refuse what would never end.

    Raises:
        InvalidValue: a setting below 1, or a request that cannot run even alone.
    """
    for field in ("max_num_seqs", "max_num_batched_tokens", "block_size", "num_gpu_blocks"):
        value = getattr(settings, field)
        if value < 1:
            raise InvalidValue(field, value, "give a whole number above 0")
    if settings.max_num_batched_tokens < settings.max_num_seqs:
        fix = f"give at least max_num_seqs = {settings.max_num_seqs}"
        raise InvalidValue("max_num_batched_tokens", settings.max_num_batched_tokens, fix)
    longest = int(np.argmax(trace.isl + trace.osl))
    tokens = int(trace.isl[longest] + trace.osl[longest]) - 1
    needed, there = pool.most(longest, tokens)
    if needed > there:
        fix = f"request {longest} of {tokens} tokens needs {needed} free blocks"
        raise InvalidValue("num_gpu_blocks", settings.num_gpu_blocks, fix)
    if not settings.enable_chunked_prefill and tokens > settings.max_num_batched_tokens:
        fix = f"give {tokens}, as request {longest} cannot be split without chunked prefill"
        raise InvalidValue("max_num_batched_tokens", settings.max_num_batched_tokens, fix)
