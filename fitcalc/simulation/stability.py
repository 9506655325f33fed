"""Whether a fleet kept up with what came."""

from __future__ import annotations

import math

from fitcalc.simulation.records import Records
from fitcalc.units import Array

_GROWTH = 0.02
"""Share of the later half's arrivals that may stay behind in a stable run. [1]"""
_DEVIATIONS = 3.0
"""Standard deviations by which the number in the system may drift besides."""

_FILLING = 6.0
"""Mean E2E times in which a batch fills. [1]"""


def is_stable(seen: Records) -> bool:
    """Whether the service kept up with an open loop's requests; a closed loop always does.

    The number in the system (sent, not ended) is taken in the middle and at the end of the
    arrivals. It must not grow by more than 2 % of the requests sent in between plus three standard
    deviations of a Poisson count. Where a half is shorter than six mean E2E of the requests sent
    in the first, batches are still filling: then no more than that may wait for their first step.
    """
    if not seen.open_loop:
        return True
    first, last = float(seen.arrival_s.min()), float(seen.arrival_s.max())
    if first == last:  # all at once: there is no rate to keep up with
        return True
    middle = (first + last) / 2.0
    early = seen.arrival_s <= middle

    def inside(time_s: float, left_s: Array) -> int:
        return int(((seen.arrival_s <= time_s) & (left_s > time_s)).sum())

    before = inside(middle, seen.finish_s)
    allowed = _GROWTH * int((~early).sum()) + _DEVIATIONS * math.sqrt(before + 1.0)
    if middle - first < _FILLING * float(seen.e2e_s[early].mean()):
        reached = seen.arrival_s + seen.frontend_s
        waiting = (seen.arrival_s <= last) & (seen.scheduled_s - reached > 0)
        return int((waiting & (seen.scheduled_s > last)).sum()) <= allowed
    return inside(last, seen.finish_s) - before <= allowed
