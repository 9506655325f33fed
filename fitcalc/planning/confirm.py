"""Finalists confirmed event by event, and given more servers where events miss the promise."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fitcalc.answers import Limit, Percentiles, Prediction, Rejection
from fitcalc.inputs.slo import Slo
from fitcalc.planning.candidates import rejected
from fitcalc.planning.choice import Choice, Confirmed, RejectedChoice, Verification
from fitcalc.planning.evaluate import Search
from fitcalc.planning.finalists import Finalist, finalists
from fitcalc.planning.losers import over_limits
from fitcalc.planning.predict import FILLS, TRUSTED
from fitcalc.planning.priced import with_replicas
from fitcalc.planning.server import interval_of
from fitcalc.planning.simulated import records_of
from fitcalc.simulation.report import is_stable, percentiles, quantiles
from fitcalc.units import MICRO, MILLI, Array

SEED = 0
CHEAP_S = 0.2
"""Time that a simulation may cost where nobody asked for it. [s]"""
_REQUESTS, _MORE = 1000, 4
"""Requests of a first look, and how many times as many decide where that is unclear. [1]"""
_SURE = 1.645
"""Standard deviations of a one-sided 95 % confidence."""
_PERCENT = 100.0
_GROWTH = (1.05, 1.1, 1.25, 1.5, 2.0)
"""How replicas grow, one after the other, while events miss the promise. [1]"""
_MOST_RUNS = 12
"""Simulations after which no further runner-up is confirmed. [1]"""
_REQUEST_US, _CHUNK_US, _TOKEN_US = 60.0, 35.0, 0.8
"""What a request, a step of its prompt and a row of the tables cost this simulation. [us]"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan with more servers must stay within; ``cost_s`` of one simulation."""

    max_gpus: int | None
    budget_usd_per_hour: float | None
    cloud: str | None
    cost_s: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A finalist, the servers that the closed form gave it, and how often it grew."""

    finalist: Finalist
    planned: int
    tries: int = 0


def confirmed(
    search: Search, some: Sequence[Finalist], wanted: int, bounds: Bounds
) -> tuple[list[Choice], list[RejectedChoice]]:
    """Confirm the cheapest finalists; who misses in events is given servers, or lost.

    Finalists that cost too much to simulate stay as they are, and so do those behind the winners.

    Args:
        search: The question.
        some: Finalists, cheapest first.
        wanted: Winners to confirm. [1]
        bounds: What more servers must stay within.
    """
    waiting = [Tried(one, one.priced.replicas) for one in some]
    sure: list[Choice] = []
    lost: list[RejectedChoice] = []
    runs = 0
    while waiting and len(sure) < wanted and (runs < _MOST_RUNS or not sure):
        one = waiting[0]
        if cost_s(one.finalist) > bounds.cost_s:
            break
        waiting.pop(0)
        runs += 1
        seen = verification(one.finalist, search.slo, one.planned)
        if seen.ok:
            sure.append(_with(one.finalist, seen))
            continue
        more, no = _more(search, one, bounds)
        if more is None:
            lost += no or [_late(one.finalist, seen, search.slo)]
        else:
            insort(waiting, more, key=lambda tried: tried.finalist.priced.order())
    return [*sure, *(one.finalist.choice for one in waiting)], lost


def cost_s(one: Finalist) -> float:
    """Expect what a simulation costs a core, from counts alone: no clock decides. [s]"""
    engine, share = one.setup.engine, one.share
    chunks = math.ceil(share.isl.mean / engine.max_num_batched_tokens)
    each = _REQUEST_US + _CHUNK_US * chunks
    tables = _TOKEN_US * (share.longest + engine.max_num_batched_tokens)
    return (_count(one) * each + tables) * MICRO


def verification(one: Finalist, slo: Slo, planned: int) -> Verification:
    """Serve a finalist's share event by event; look longer where the promise is at the edge."""
    count = _count(one)
    seen = _confirm(one, slo, count, planned)
    unclear = any(row.promised_ms and row.low_ms <= row.promised_ms < row.high_ms
                  for row in seen.limits)  # fmt: skip
    return _confirm(one, slo, count * _MORE, planned) if unclear else seen


def _count(one: Finalist) -> int:
    """Requests of a first look: enough for a percentile, and for batches that fill. [1]"""
    return max(_REQUESTS, math.ceil(FILLS * one.choice.prediction.steady_batch))


def _confirm(one: Finalist, slo: Slo, count: int, planned: int) -> Verification:
    seen = records_of(one.setup, one.ledger, one.share, seed=SEED, requests=count)
    said, share = one.choice.prediction, slo.percentile / _PERCENT
    # Before the first requests have ended the batch is still filling.
    later = seen.part((seen.arrival_s >= said.e2e_ms.mean * MILLI).nonzero()[0])
    filled = later if len(later.isl) >= count // 2 else seen
    noise = _SURE * math.sqrt(share * (1.0 - share) / len(filled.isl))
    shares = (share, share - noise, min(share + noise, 1.0))
    rows = (
        (Limit.TTFT, slo.ttft_ms, said.ttft_ms, quantiles(filled.ttft_s, shares)),
        (Limit.ITL, slo.itl_ms, said.itl_ms, quantiles(seen.gap_s, shares, seen.gap_count)),
        (Limit.E2E, slo.e2e_ms, said.e2e_ms, quantiles(filled.e2e_s, shares)),
    )
    stable = is_stable(seen)
    limits = tuple(_row(limit, promised, p.at(slo.percentile), found)
                   for limit, promised, p, found in rows)  # fmt: skip
    return Verification(
        ok=stable and all(row.holds for row in limits),
        stable=stable,
        percentile=slo.percentile,
        limits=limits,
        ttft_ms=percentiles(filled.ttft_s),
        itl_ms=percentiles(seen.gap_s, seen.gap_count),
        tpot_ms=percentiles(filled.tpot_s),
        e2e_ms=percentiles(filled.e2e_s),
        num_requests=len(seen.isl),
        seed=SEED,
        replicas_planned=planned,
    )


def _row(limit: Limit, promised: float | None, said_ms: float, found_s: Array) -> Confirmed:
    at, low, high = (float(x) / MILLI for x in found_s)
    return Confirmed(
        limit=limit,
        promised_ms=promised,
        closed_form_ms=said_ms,
        simulated_ms=at,
        low_ms=low,
        high_ms=high,
        difference=said_ms / at - 1.0 if at > 0 else 0.0,
        holds=promised is None or low <= promised,
    )


def _with(one: Finalist, seen: Verification) -> Choice:
    """Attach what events say; above the trusted utilization it is the prediction itself."""
    said = one.choice.prediction
    if said.utilization > TRUSTED:
        said = from_events(one, said, seen)
    notes = one.choice.notes
    servers = one.choice.replicas
    if servers > seen.replicas_planned:
        added = servers - seen.replicas_planned
        words = f"events missed the promise on {seen.replicas_planned} servers: {added} added"
        notes = (*notes, words)
    return one.choice.model_copy(update={"prediction": said, "verification": seen, "notes": notes})


def from_events(one: Finalist, said: Prediction, seen: Verification) -> Prediction:
    """Return a prediction with the latencies that events had."""
    felt: dict[str, Percentiles] = {
        name: getattr(seen, name) for name in ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms")
    }
    interval = interval_of(one.setup, seen.ttft_ms, seen.tpot_ms)
    return said.model_copy(update={**felt, "interval": interval, "method": "simulation"})


def _more(search: Search, one: Tried, bounds: Bounds) -> tuple[Tried | None, list[RejectedChoice]]:
    """Return the finalist with more servers, or why there are none."""
    if one.tries >= len(_GROWTH):
        return None, []
    now = one.finalist.priced
    servers = max(now.replicas + 1, math.ceil(one.planned * _GROWTH[one.tries]))
    grown = with_replicas(now.found, servers, bounds.cloud)
    within, over = over_limits([grown], bounds.max_gpus, bounds.budget_usd_per_hour)
    made = finalists(search, within)
    return (replace(one, finalist=made[0], tries=one.tries + 1) if made else None), over


def _late(one: Finalist, seen: Verification, slo: Slo) -> RejectedChoice:
    """Say which limit events miss by the most."""
    worst = max(
        (row for row in seen.limits if row.promised_ms),
        key=lambda row: row.simulated_ms / (row.promised_ms or math.inf),
    )
    promised = worst.promised_ms or 0.0
    reason = (
        f"in events {worst.limit.value} at p{slo.percentile:g} is {worst.simulated_ms:,.0f} ms, "
        f"promised are {promised:,.0f} ms"
    )
    no = Rejection(limit=worst.limit, needed=worst.simulated_ms, available=promised, reason=reason)
    engine = one.setup.engine
    return rejected(
        one.choice.gpu, one.setup.split, engine.weight_format, engine.kv_cache_dtype, no
    )
