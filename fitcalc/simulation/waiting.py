"""Requests without a seat: in order of arrival, or by priority (vLLM's request_queue.py)."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from fitcalc.simulation.requests import Requests


class ArrivalQueue(deque[int]):
    """First come, first served; whoever lost its seat goes back in front."""

    ordered = False
    """Whether somebody new may come in front."""

    def head(self) -> int:
        """Who is next."""
        return self[0]

    def take(self) -> int:
        """Take the next one out."""
        return self.popleft()

    def add(self, requests: Iterable[int]) -> None:
        """Let requests wait that have come."""
        self.extend(requests)

    def put_back(self, request: int) -> None:
        """Let a request wait that was preempted."""
        self.appendleft(request)


class PriorityQueue:
    """The lowest priority number first, then who came first."""

    __slots__ = ("_heap", "_requests")

    ordered = True

    def __init__(self, requests: Requests) -> None:
        """Start empty."""
        self._requests = requests
        self._heap: list[tuple[tuple[int, int], int]] = []

    def __len__(self) -> int:
        """Count who waits. [1]"""
        return len(self._heap)

    def head(self) -> int:
        """Who is next."""
        return self._heap[0][1]

    def take(self) -> int:
        """Take the next one out."""
        return heapq.heappop(self._heap)[1]

    def add(self, requests: Iterable[int]) -> None:
        """Let requests wait that have come."""
        for request in requests:
            heapq.heappush(self._heap, (self._requests.rank(request), request))

    def put_back(self, request: int) -> None:
        """Let a request wait that was preempted."""
        self.add((request,))
