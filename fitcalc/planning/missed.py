"""Which limits of a promise a prediction misses, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fitcalc.answers import Limit, Prediction, Row
from fitcalc.inputs.slo import Slo

if TYPE_CHECKING:
    from fitcalc.simulation.report import Simulation


class Failure(Row):
    """A limit that was missed: what it takes and what there is, in the limit's own unit."""

    limit: Limit
    needed: float
    available: float
    reason: str


def missed(found: Prediction | Simulation, slo: Slo) -> tuple[Failure, ...]:
    """Return the latencies that are over their limit at the promised percentile. [ms]"""
    rows = (
        (Limit.TTFT, found.ttft_ms, slo.ttft_ms),
        (Limit.ITL, found.itl_ms, slo.itl_ms),
        (Limit.E2E, found.e2e_ms, slo.e2e_ms),
    )
    return tuple(
        Failure(
            limit=limit,
            needed=latency.at(slo.at(limit)),
            available=promised,
            reason=f"{limit.value} at p{slo.at(limit):g} is {latency.at(slo.at(limit)):,.0f} ms, "
            f"promised are {promised:,.0f} ms",
        )
        for limit, latency, promised in rows
        if promised is not None and latency.at(slo.at(limit)) > promised
    )
