"""The deployments that no other beats in money, first token, gap and GPUs at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Limit
from fitcalc.planning.evaluate import entries
from fitcalc.planning.losers import over_limits
from fitcalc.planning.priced import Priced
from fitcalc.planning.ranking import Limits, sizer
from fitcalc.planning.search import Search
from fitcalc.planning.why import ParetoPoint
from fitcalc.queueing.goodput import state_of
from fitcalc.queueing.latency import gap_law, ttft_law
from fitcalc.units import MILLI, Array

_PERCENT = 100.0
_ALIKE = 0.02
"""Latencies that differ by less count as equal. [1]"""


def front_of(search: Search, limits: Limits) -> tuple[ParetoPoint, ...]:
    """Evaluate every candidate and return the front, the cheapest first.

    A candidate has the fewest servers that keep the promise with the headroom left free; what has
    no price loses to nobody over money.
    """
    able = [entry for entry in entries(search) if entry.refused is None]
    sized, _ = sizer(search, limits)(able, lambda entry: str(entry.index))
    within, _ = over_limits(sized, limits.max_gpus, limits.budget_usd_per_hour)
    if not within:
        return ()
    ttft, itl = _felt(search, within)
    money = np.array([one.bill.usd_per_hour if one.bill else math.inf for one in within])
    gpus = np.array([float(one.gpu_count) for one in within])
    rows = undominated(np.stack([money, gpus, ttft, itl], axis=1), [0.0, 0.0, _ALIKE, _ALIKE])
    return tuple(_point(within[i], float(ttft[i]), float(itl[i])) for i in rows)


def undominated(costs: Array, alike: Sequence[float]) -> list[int]:
    """Rows that no other row beats or equals in every column, in order of their columns.

    Args:
        costs: Less is better. (row, column)
        alike: Differences that do not count, by column. [1]

    Examples:
        >>> undominated(np.array([[1.0, 9.0], [2.0, 9.0], [2.0, 3.0], [2.0, 3.0]]), [0.0, 0.0])
        [0, 2]
    """
    least = costs * (1.0 + np.array(alike))
    kept: list[int] = []
    for i in np.lexsort(costs.T[::-1]):
        beaten: NDArray[np.bool_] = np.all(costs[kept] <= least[i], axis=1)
        if not beaten.any():
            kept.append(int(i))
    return kept


def _felt(search: Search, some: Sequence[Priced]) -> tuple[Array, Array]:
    """First token and gap at the promised percentiles, each at its own load. [ms] (row,)"""
    server = search.servers([one.found for one in some])
    load = np.array([search.share(one.replicas).load for one in some])
    burstiness, slo = search.traffic.burstiness, search.slo
    state = state_of(server, load, closed=search.closed, burstiness=burstiness)
    ttft = ttft_law(server, state, burstiness).quantile(slo.percentile / _PERCENT)
    if not server.decodes:
        return ttft / MILLI, np.zeros_like(ttft)
    gaps = gap_law(server, state).quantile(slo.at(Limit.ITL) / _PERCENT)
    return ttft / MILLI, gaps / MILLI


def _point(one: Priced, ttft_ms: float, itl_ms: float) -> ParetoPoint:
    found = one.found
    return ParetoPoint(
        gpu=found.entry.gpu,
        gpu_count=one.gpu_count,
        replicas=one.replicas,
        engine=found.entry.block.asked.replace(
            max_num_seqs=found.max_num_seqs, max_num_batched_tokens=found.max_num_batched_tokens
        ),
        usd_per_hour=one.bill.usd_per_hour if one.bill else None,
        ttft_ms=ttft_ms,
        itl_ms=itl_ms,
    )
