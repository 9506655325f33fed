"""Which limits of a promise a prediction misses, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fitcalc.answers import Limit, Prediction, Rejection, Row
from fitcalc.inputs.slo import Slo
from fitcalc.units import KILO

if TYPE_CHECKING:
    from fitcalc.simulation.report import Simulation


class Failure(Row):
    """A limit that was missed: what it takes and what there is, in the limit's own unit."""

    limit: Limit
    needed: float
    available: float
    reason: str


def failure(no: Rejection) -> Failure:
    """Say a no as a missed limit."""
    return Failure(limit=no.limit, needed=no.needed, available=no.available, reason=no.reason)


def missed(
    found: Prediction | Simulation, slo: Slo, slower: Mapping[Limit, float] | None = None
) -> tuple[Failure, ...]:
    """Return the latencies that are over their limit at the promised percentile. [ms]

    Args:
        found: The latencies.
        slo: The promise.
        slower: How many times longer each latency is to be taken; ``None`` = as it is. [1]
    """
    rows = (
        (Limit.TTFT, found.ttft_ms, slo.ttft_ms),
        (Limit.ITL, found.itl_ms, slo.itl_ms),
        (Limit.E2E, found.e2e_ms, slo.e2e_ms),
    )
    out = []
    for limit, latency, promised in rows:
        percentile = slo.at(limit)
        needed = latency.at(percentile) * (slower[limit] if slower else 1.0)
        if promised is not None and needed > promised:
            why = (
                f"{limit.value.upper()} at p{percentile:g} is {in_ms(needed)}, "
                f"promised are {in_ms(promised)}"
            )
            out.append(Failure(limit=limit, needed=needed, available=promised, reason=why))
    return tuple(out)


def in_ms(value: float) -> str:
    """Write a time so that it differs from a limit that it misses by little.

    Examples:
        >>> in_ms(6.4812), in_ms(2009.3)
        ('6.481 ms', '2,009 ms')
    """
    return f"{value:,.0f} ms" if value >= KILO else f"{value:.4g} ms"
