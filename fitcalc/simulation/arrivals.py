"""Who asks when: an open loop by the clock, a closed loop when an answer ends."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import inf

from fitcalc.simulation.timeline import Timeline
from fitcalc.units import Array

NEVER = 1 << 60
"""Steps beyond any run. [1]"""


class OpenLoop:
    """Requests that come by the clock, whatever the server does.

    Attributes:
        next_s: When the next request known of reaches the scheduler. [s]
    """

    at_once = False

    def __init__(self) -> None:
        """Know of no request yet."""
        self._coming: list[tuple[float, int]] = []
        self.next_s = inf

    def push(self, request: int, time_s: float) -> None:
        """Announce a request that reaches the scheduler at ``time_s``."""
        heapq.heappush(self._coming, (time_s, request))
        self.next_s = self._coming[0][0]

    def due(self, time_s: float) -> list[int]:
        """Requests that have reached the scheduler by ``time_s``, in order."""
        there: list[int] = []
        while self.next_s <= time_s:
            there.append(heapq.heappop(self._coming)[1])
            self.next_s = self._coming[0][0] if self._coming else inf
        return there

    @property
    def more(self) -> bool:
        """Whether a request may yet come without being asked for by ``freed``."""
        return bool(self._coming)

    def ended(self, step: int) -> None:
        """Take note that a request ended with ``step``."""

    def freed(self) -> int | None:
        """Return the request that follows one whose end the scheduler has just seen."""
        return None

    def settle(self, timeline: Timeline) -> None:
        """Find the times of requests that follow an ended one."""

    def follow_s(self, ends_s: Array) -> float:  # noqa: ARG002
        """When the first follower would come if requests ended at ``ends_s``. [s]"""
        return inf

    def follow_steps(self, pace_s: float) -> int:  # noqa: ARG002
        """Steps of ``pace_s`` from the next end to its follower, rounded up. [1]"""
        return NEVER


class ClosedLoop(OpenLoop):
    """Clients that each ask again when their answer ends: ``vllm bench serve --max-concurrency``.

    All of the first ``concurrency`` requests are sent at 0 s; every end sends the next in order.

    Attributes:
        sent_step: Step whose end sent each request; -1 = sent at 0 s. [1]
    """

    def __init__(self, concurrency: int, delays_s: Sequence[float]) -> None:
        """Send the first requests.

        Args:
            concurrency: Clients. [1]
            delays_s: From being sent to reaching the scheduler, one a request. [s]
        """
        super().__init__()
        self._delays = delays_s
        self._sent = min(concurrency, len(delays_s))
        self._ends: list[int] = []
        self.sent_step = [-1] * self._sent
        self.at_once = not any(delays_s)
        for request in range(self._sent):
            self.push(request, delays_s[request])

    @property
    def more(self) -> bool:
        """Whether a request may yet come by the clock."""
        unsent = not self.at_once and self._sent < len(self._delays)
        return bool(self._coming) or unsent

    def ended(self, step: int) -> None:
        """Take note that a client has its answer with the end of ``step``."""
        if len(self.sent_step) < len(self._delays):
            self.sent_step.append(step)
            self._ends.append(step)

    def freed(self) -> int | None:
        """Return the next request where it reaches the scheduler at once."""
        if not self.at_once or not self._ends:
            return None
        self._ends.pop(0)
        self._sent += 1
        return self._sent - 1

    def settle(self, timeline: Timeline) -> None:
        """Send the next requests of the clients whose answers have ended in timed steps."""
        if self.at_once:
            return
        for step in self._ends:
            self.push(self._sent, timeline.end_s(step) + self._delays[self._sent])
            self._sent += 1
        self._ends.clear()

    def follow_s(self, ends_s: Array) -> float:
        """When the first follower would come if requests ended at ``ends_s``, in order. [s]"""
        delays = self._delays[self._sent : self._sent + len(ends_s)]
        return min(
            (float(end) + wait for end, wait in zip(ends_s, delays, strict=False)), default=inf
        )

    def follow_steps(self, pace_s: float) -> int:
        """Steps of ``pace_s`` from the next end to its follower, rounded up. [1]"""
        if self._sent == len(self._delays):
            return NEVER
        return int(self._delays[self._sent] / pace_s) + 2
