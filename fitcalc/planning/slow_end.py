"""Sizes for a server that is slower than predicted, and how sure a size is.

Where every step takes r times as long, a server with arrivals at a rate has r times the latencies
that it would have at r times that rate: time itself is stretched. So a slow server keeps a promise
exactly where the predicted one keeps the r-th part of it under r times the load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fitcalc.answers import Calibrated, Limit
from fitcalc.catalog.accuracy import SLOW_END, slow_factor
from fitcalc.physics.build import calibrated
from fitcalc.planning.choice import RejectedChoice
from fitcalc.planning.evaluate import best_of_each
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.losers import cannot_carry
from fitcalc.planning.priced import Priced, priced
from fitcalc.planning.search import Entry, Search
from fitcalc.planning.worth import Worth
from fitcalc.queueing.goodput import Slower, keeps, state_of

_LEVELS = np.linspace(-1.0, 2.5, 29)
"""Deviations at which a size is tried: 16 % to 99.4 %."""


def deviations(confidence: float) -> float:
    """Return how many standard deviations a one-sided confidence is. [1]

    Examples:
        >>> round(deviations(0.9), 4)
        1.2816
    """
    from statistics import NormalDist  # noqa: PLC0415 - only where it is asked for

    return NormalDist().inv_cdf(confidence)


def slowed(search: Search, kind: Calibrated, level: float) -> tuple[Search, float]:
    """Return the question to ask a slow server of a class, and by how much time is stretched."""
    moe = search.model.is_moe
    ttft = slow_factor("ttft", kind, is_moe=moe, deviations=level)
    itl = slow_factor("tpot", kind, is_moe=moe, deviations=level)
    slo, traffic = search.slo, search.traffic
    promise = slo.replace(
        ttft_ms=slo.ttft_ms / ttft,
        itl_ms=slo.itl_ms / itl,
        e2e_ms=None if slo.e2e_ms is None else slo.e2e_ms / max(ttft, itl),
    )
    if traffic.qps is None:  # clients wait: their number is no rate
        return replace(search, slo=promise), 1.0
    return replace(search, slo=promise, traffic=traffic.replace(qps=traffic.qps * itl)), itl


def sized(
    search: Search,
    able: Sequence[Entry],
    kind: Callable[[Entry], str],
    *,
    worth: Worth,
    level: float,
) -> tuple[list[Priced], list[RejectedChoice]]:
    """Return the cheapest candidate of each kind with its servers, cheapest first, and who lost.

    Args:
        search: The question.
        able: Candidates that may keep the promise.
        kind: The kind of a candidate.
        worth: What orders candidates.
        level: Deviations by which servers are slower than predicted. [1]
    """
    groups: dict[Calibrated | None, list[Entry]] = {}
    for entry in able:
        groups.setdefault(_class(entry) if level else None, []).append(entry)
    best: dict[str, Priced] = {}
    lost: list[RejectedChoice] = []
    for how, some in groups.items():
        asked, stretch = (search, 1.0) if how is None else slowed(search, how, level)
        rank = replace(worth, load=worth.load * stretch).order
        found = best_of_each(asked, some, kind, rank)
        ranked, slow = priced(asked, [f for f in found if f.load > 0], worth.headroom, worth.sold)
        lost += cannot_carry(asked, [*slow, *(f for f in found if f.load <= 0)])
        for one in ranked:
            which = kind(one.found.entry)
            real = replace(one, found=replace(one.found, load=one.found.load / stretch))
            if which not in best or real.order() < best[which].order():
                best[which] = real
    return sorted(best.values(), key=Priced.order), lost


def _class(entry: Entry) -> Calibrated:
    """Return the class whose interval holds for a candidate."""
    return calibrated(entry.block.gpus[entry.row], entry.block.weight)


def confidence(search: Search, one: Finalist) -> float:
    """How sure a choice is to keep its promise, its prediction's own error counted. [1]

    The interval of its prediction is tried at many widths, TTFT and gaps slow together; where
    events were asked, the closed form is first set to what they had.
    """
    said, slo = one.choice.prediction, search.slo
    ends = (
        said.interval.ttft_ms[1] / said.ttft_ms.mean,
        said.interval.tpot_ms[1] / said.tpot_ms.mean if said.tpot_ms.mean > 0 else 1.0,
    )
    ttft, itl = (np.maximum(end, 1.0) ** (_LEVELS / SLOW_END) for end in ends)
    off = _events_over_form(one)
    slower = Slower(
        ttft * off[Limit.TTFT], itl * off[Limit.ITL], np.maximum(ttft, itl) * off[Limit.E2E]
    )
    found = one.priced.found
    count = len(_LEVELS)
    server = search.servers([found] * count)
    load = np.full(count, one.share.load) * (1.0 if search.closed else itl)
    burstiness = search.traffic.burstiness
    state = state_of(server, load, closed=search.closed, burstiness=burstiness)
    kept = keeps(server, state, slo, burstiness, slower) & state.stable
    held = int(np.logical_and.accumulate(kept).sum())
    return 0.5 * (1.0 + math.erf(_LEVELS[held - 1] / math.sqrt(2.0))) if held else 0.0


def _events_over_form(one: Finalist) -> dict[Limit, float]:
    """How many times longer each latency is in events than in closed form. [1]"""
    seen = one.choice.verification
    off = dict.fromkeys((Limit.TTFT, Limit.ITL, Limit.E2E), 1.0)
    for row in seen.limits if seen else ():
        if row.closed_form_ms > 0:
            off[row.limit] = row.simulated_ms / row.closed_form_ms
    return off
