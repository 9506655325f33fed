"""What happens to each request: one number of a kind each, touched one at a time."""

from __future__ import annotations

from array import array

import numpy as np

from fitcalc.inputs.trace import Trace

NOBODY = -1


class Requests:
    """Counters of every request, in arrays of machine numbers.

    Attributes:
        isl, osl: Lengths. [tokens]
        target: Tokens to compute until the next one is sampled. [tokens]
        scheduled, first, finish: Steps in which it first ran, made its first and its last token;
            -1 = not yet. [1]
        scheduled_s, first_s, finish_s: When the first began and the others ended. [s]
        preemptions: Times it lost its blocks. [1]
        cached: Prompt tokens that needed no computing at first. [tokens]
        priority: Lower runs first; empty = all alike.
    """

    __slots__ = (
        "cached", "finish", "finish_s", "first", "first_s", "isl", "osl", "preemptions",
        "priority", "scheduled", "scheduled_s", "target",
    )  # fmt: skip

    def __init__(self, trace: Trace) -> None:
        """Take the lengths; nothing has happened yet."""
        count = len(trace)
        self.isl = array("i", trace.isl.astype(np.int32).tobytes())
        self.osl = array("i", trace.osl.astype(np.int32).tobytes())
        self.target = array("i", self.isl)
        self.scheduled = array("i", [NOBODY]) * count
        self.first = array("i", [NOBODY]) * count
        self.finish = array("i", [NOBODY]) * count
        self.scheduled_s = array("d", [0.0]) * count
        self.first_s = array("d", [0.0]) * count
        self.finish_s = array("d", [0.0]) * count
        self.preemptions = array("i", [0]) * count
        self.cached = array("i", [0]) * count
        ranks = trace.priority
        self.priority = array("q", [] if ranks is None else ranks.astype(np.int64).tobytes())

    def rank(self, request: int) -> tuple[int, int]:
        """Place of a request under the priority policy: its number, then its order."""
        return (self.priority[request] if self.priority else 0, request)
