"""One vLLM engine in time: the scheduler's steps, the clock, and what may be skipped.

Between two events (an arrival, a first token, an end, blocks that run out) every step decodes the
same sequences: such a row of steps is one row of tables (``law``), whatever its length. The answer
is that of a step-by-step run, which ``skip=False`` makes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace
from fitcalc.physics.step import StepTimes
from fitcalc.simulation.arrivals import OpenLoop
from fitcalc.simulation.batch import Batch
from fitcalc.simulation.blocks import BlockPool
from fitcalc.simulation.diary import Diary
from fitcalc.simulation.law import StepLaw, step_law
from fitcalc.simulation.pools import open_pool
from fitcalc.simulation.requests import Requests
from fitcalc.simulation.scheduler import Scheduler
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.simulation.timeline import Steps, Timeline

_REPORTS = 200
"""Times that an engine reports what it has ended. [1]"""


class Engine:
    """A replica that serves requests of a trace.

    Attributes:
        requests: What happened to each request.
        timeline: The clock.
        diary: Sums over the steps.
        scheduler: The state between two steps.
        arrivals: The loop that sends the requests.
        watched: Whether a router asks for ends.
        ends: When requests ended that it has not seen yet. [s]
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
        computed_elsewhere: bool = False,
        skip: bool = True,
        keep_steps: bool = True,
        warm: bool = False,
        law: StepLaw | None = None,
        ended: Callable[[int], None] | None = None,
    ) -> None:
        """Check that every request can be served alone, and start idle at 0 s.

        Args:
            model: Time of a step.
            trace: The requests; ``arrivals`` says when they come.
            settings: vLLM's settings.
            arrivals: The loop that sends the requests.
            prefix_hit: Share of each prompt that the prefix cache serves. [1]
            prefix_tokens: Tokens at the start of every prompt that all share. [tokens]
            computed_elsewhere: Whether prompts come with their KV: all but the last token.
            skip: Whether to pass many steps at once.
            keep_steps: Whether ``timeline`` keeps the rows of steps.
            warm: Whether the first request's prompt has been served before.
            law: Tables of ``model``, where they are written already.
            ended: Told how many more requests have ended.

        Raises:
            InvalidValue: the settings make no sense, or a request can never run.
        """
        settings.check()
        self.requests = Requests(trace)
        self.arrivals = arrivals
        self.watched = False
        self.ends: deque[float] = deque()
        self._skip, self._told = skip, ended
        self._ended, self._chunk = 0, max(1, len(trace) // _REPORTS)
        self._ahead = settings.async_scheduling
        if computed_elsewhere:
            hits = (trace.isl - 1).tolist()
            self._pool = BlockPool(
                settings.num_gpu_blocks, settings.block_size, hits, partial_blocks=True
            )
        else:
            self._pool = open_pool(trace, settings, prefix_hit, prefix_tokens)
            if warm:
                self._pool.warm_up(0, int(trace.isl[0]))
        _check(trace, settings, self._pool)
        law = law or law_of(model, trace, settings)
        self.diary = Diary(law)
        self.timeline = Timeline(law, self.diary, keep_steps=keep_steps)
        self._stalled_s: dict[int, float] = {}  # request -> end of its last token
        self.scheduler = Scheduler(settings, self.requests, self._pool, self._note_stall)

    @property
    def usable_blocks(self) -> int:
        """KV blocks that can hold tokens. [1]"""
        return self._pool.usable

    @property
    def used_blocks(self) -> int:
        """KV blocks held now. [1]"""
        return self._pool.usable - self._pool.free

    def cached_tokens(self, request: int) -> int:
        """Leading tokens of a request that this engine holds now. [tokens]"""
        return self._pool.hit_tokens(request, self.requests.target[request])

    def ended_by(self, time_s: float) -> int:
        """Count the requests that ended by ``time_s`` since it was last asked. [1]"""
        count = 0
        while self.ends and self.ends[0] <= time_s:
            self.ends.popleft()
            count += 1
        return count

    def run(self, until_s: float = inf) -> None:
        """Serve until everybody has been served, or no step is scheduled before ``until_s``."""
        scheduler, timeline, arrivals, ahead = (
            self.scheduler, self.timeline, self.arrivals, self._ahead
        )  # fmt: skip
        while True:
            if scheduler.ended:
                scheduler.free_ended()
            decided = timeline.decided_s(ahead=ahead)
            if decided >= until_s:
                return
            if arrivals.next_s <= decided:
                scheduler.waiting.add(arrivals.due(decided))
            if scheduler.idle and not self._wake(until_s):
                return
            if scheduler.mixed or not scheduler.decoding.count:
                batch = scheduler.mix()
                if batch is None:
                    self._idle(until_s)
                else:
                    self._pass(batch)
            else:
                self._decode(until_s)

    def _wake(self, until_s: float) -> bool:
        """Let an empty engine's clock run to the next arrival; say whether there is one."""
        self._settle()
        scheduler, timeline, arrivals = self.scheduler, self.timeline, self.arrivals
        if arrivals.next_s <= timeline.now_s:
            scheduler.waiting.add(arrivals.due(timeline.now_s))
            return True
        if arrivals.next_s == inf or arrivals.next_s >= until_s:
            return False
        timeline.wait_until(arrivals.next_s)
        scheduler.waiting.add(arrivals.due(timeline.now_s))
        return True

    def _idle(self, until_s: float) -> None:
        """Nothing can be scheduled until the ends in flight are seen, or somebody comes."""
        stuck = not self.scheduler.ended
        self._settle()
        if stuck:
            came = self.arrivals.next_s
            if came == inf:
                raise AssertionError("the scheduler is stuck")
            self.timeline.wait_until(min(came, until_s))

    def _settle(self) -> None:
        self.timeline.rest()
        self.scheduler.free_ended(all_of_them=True)

    def _pass(self, batch: Batch) -> None:
        """Let one step pass, and see who got a token."""
        scheduler, timeline, requests = self.scheduler, self.timeline, self.requests
        start = timeline.now_s
        for request in batch.started:
            requests.scheduled_s[request] = start
        if batch.preempted:
            self.diary.preempted(start, batch.preempted)
        used = self.used_blocks
        running = batch.decodes + len(batch.chunks)
        felt = batch.decodes - len(batch.late)
        end = timeline.pass_row(batch.row(), felt, running, used, used)
        for request in batch.late:
            self.diary.gap(end - self._stalled_s.pop(request))
        over: list[int] = []
        for request in batch.whole:
            if requests.first[request] < 0:
                requests.first[request] = scheduler.step - 1
                requests.first_s[request] = end
            else:
                self.diary.gap(end - self._stalled_s.pop(request))
            if scheduler.sampled(request):
                over.append(request)
        self._end(over + scheduler.decoding.ended(scheduler.step), end)

    def _decode(self, until_s: float) -> None:
        """Decode until somebody comes or ends; who comes to a full house waits unseen."""
        scheduler, timeline, arrivals = self.scheduler, self.timeline, self.arrivals
        decoding = scheduler.decoding
        most = decoding.first_end() + 1 - scheduler.step if self._skip else 1
        waiting = scheduler.waiting
        blocked = bool(waiting) and not waiting.ordered
        if waiting or scheduler.partial:
            if scheduler.ended:
                most = min(most, scheduler.ended[0][0] - scheduler.step)
            most = min(most, decoding.until_given(scheduler.step))
            deferred = scheduler.deferred_steps
            if deferred:
                most, blocked = min(most, deferred), False
        elif scheduler.ended:
            if decoding.growth_of(scheduler.step, most) <= self._pool.blank:
                scheduler.free_ended(all_of_them=True)  # a step early, where nobody minds
            else:
                most = min(most, scheduler.ended[0][0] - scheduler.step)
        decodes, context = decoding.count, decoding.context(scheduler.step)
        came = until_s if blocked else min(arrivals.next_s, until_s)
        if came < inf and most > 1:
            most = timeline.steps_before(came, most, decodes, context, self._ahead)
        count, first, last = scheduler.decode(most)
        steps = Steps(count, decodes, context, 0, 0.0, 0)
        end = timeline.pass_row(steps, decodes, decodes, first, last)
        if decoding.first_end() < scheduler.step:
            self._end(decoding.ended(scheduler.step), end)

    def _end(self, over: list[int], end_s: float) -> None:
        """Take note of requests whose last token came with the step just passed."""
        if len(over) > 1:  # as vLLM goes through them: in the order in which they run
            over = [request for request in self.scheduler.running if request in over]
        for request in over:
            self.scheduler.end(request)
            self.requests.finish_s[request] = end_s
            self.arrivals.ended(self.scheduler.step - 1, end_s)
            if self.watched:
                self.ends.append(end_s)
            self._ended += 1
        if self._told is not None and self._ended >= self._chunk:
            ended, self._ended = self._ended, 0
            self._told(ended)

    def _note_stall(self, request: int) -> None:
        self._stalled_s.setdefault(request, self.timeline.now_s)


def law_of(model: StepTimes, trace: Trace, settings: SchedulerSettings) -> StepLaw:
    """Write out the tables that serving a trace needs."""
    return step_law(
        model,
        sequences=settings.max_num_seqs,
        tokens=settings.max_num_batched_tokens,
        longest=int((trace.isl + trace.osl).max()),
    )


def _check(trace: Trace, settings: SchedulerSettings, pool: BlockPool) -> None:
    """Refuse what would never end.

    Raises:
        InvalidValue: a request that cannot run even alone.
    """
    longest = int(np.argmax(trace.isl + trace.osl))
    tokens = int(trace.isl[longest] + trace.osl[longest]) - 1
    needed, there = pool.most(longest, tokens)
    if needed > there:
        fix = f"request {longest} of {tokens} tokens needs {needed} free blocks"
        raise InvalidValue("num_gpu_blocks", settings.num_gpu_blocks, fix)
    whole = not settings.enable_chunked_prefill and not settings.long_prefill_token_threshold
    if whole and tokens > settings.max_num_batched_tokens:
        fix = f"give {tokens}, as request {longest} cannot be split without chunked prefill"
        raise InvalidValue("max_num_batched_tokens", settings.max_num_batched_tokens, fix)
