"""Who asks when: an open loop by the clock, a closed loop when an answer ends."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import inf

import numpy as np

from fitcalc.units import Array


class OpenLoop:
    """Requests that come by the clock, whatever the server does.

    Attributes:
        next_s: When the next request known of reaches the scheduler. [s]
    """

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

    def ended(self, step: int, end_s: float) -> None:
        """Take note that a request ended with ``step`` at ``end_s``."""


class TimedLoop(OpenLoop):
    """An open loop whose times are all known at the start, read in order."""

    def __init__(self, times_s: Array) -> None:
        """Know when each request reaches the scheduler. [s]"""
        super().__init__()
        self._times = times_s
        self._order = np.argsort(times_s, kind="stable")
        self._next = 0
        self._seek()

    def due(self, time_s: float) -> list[int]:
        """Requests that have reached the scheduler by ``time_s``, in order."""
        there: list[int] = []
        while self.next_s <= time_s:
            there.append(int(self._order[self._next]))
            self._next += 1
            self._seek()
        return there

    def _seek(self) -> None:
        known = self._next < len(self._order)
        self.next_s = float(self._times[self._order[self._next]]) if known else inf


class ClosedLoop(OpenLoop):
    """Clients that each ask again when their answer ends: ``vllm bench serve --max-concurrency``.

    The first ``concurrency`` requests are sent at 0 s, or as fast as ``sent_s`` allows
    (``--request-rate``); every end sends the next in order, not before its time.

    Attributes:
        sent_step: Step whose end sent each request; -1 = sent by the clock. [1]
        sent_at_s: When each was sent. [s]
    """

    def __init__(
        self, concurrency: int, delays_s: Sequence[float], sent_s: Array | None = None
    ) -> None:
        """Send the first requests.

        Args:
            concurrency: Clients. [1]
            delays_s: From being sent to reaching the scheduler, one a request. [s]
            sent_s: Before which times requests are not sent; ``None`` = 0. [s]
        """
        super().__init__()
        self._delays = delays_s
        self._earliest = sent_s
        self.sent_step: list[int] = []
        self.sent_at_s: list[float] = []
        for _ in range(min(concurrency, len(delays_s))):
            self._send(-1, 0.0)

    def ended(self, step: int, end_s: float) -> None:
        """Take note that a client has its answer with the end of ``step`` at ``end_s``."""
        if len(self.sent_step) < len(self._delays):
            self._send(step, end_s)

    def _send(self, step: int, time_s: float) -> None:
        request = len(self.sent_step)
        if self._earliest is not None:
            time_s = max(time_s, float(self._earliest[request]))
        self.sent_step.append(step)
        self.sent_at_s.append(time_s)
        self.push(request, time_s + self._delays[request])
