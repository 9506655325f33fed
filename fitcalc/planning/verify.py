"""A finalist asked event by event, at what it would cost and with how sure the answer is."""

from __future__ import annotations

import math

import numpy as np

from fitcalc.answers import Limit, Percentiles, Prediction
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Confirmed, Verification
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.predict import FILLS
from fitcalc.planning.server import interval_of
from fitcalc.planning.simulated import records_of
from fitcalc.simulation.quantiles import percentiles, quantiles
from fitcalc.simulation.stability import is_stable
from fitcalc.units import MICRO, MILLI, Array

SEED = 0
_REQUESTS, _LATE, _MORE = 1000, 40, 4
"""Requests of a first look at least, those of them that are later than the percentile, and how many
times as many decide where that is unclear. [1]"""
_PARTS = 20
"""Parts of a run, one after the other, that tell how much late requests come together. [1]"""
_SURE = 1.645
"""Standard deviations of a one-sided 95 % confidence."""
_PERCENT = 100.0
_REQUEST_US, _CHUNK_US, _TOKEN_US = 60.0, 35.0, 0.8
"""What a request, a step of its prompt and a row of the tables cost this simulation. [us]"""


def cost_s(one: Finalist, slo: Slo) -> float:
    """Expect what a simulation costs a core, from counts alone: no clock decides. [s]"""
    engine, share = one.setup.engine, one.share
    chunks = math.ceil(share.isl.mean / engine.max_num_batched_tokens)
    each = _REQUEST_US + _CHUNK_US * chunks
    tables = _TOKEN_US * (share.longest + engine.max_num_batched_tokens)
    return (_count(one, slo) * each + tables) * MICRO


def verification(one: Finalist, slo: Slo, planned: int) -> Verification:
    """Serve a finalist's share event by event; look longer where the promise is at the edge."""
    count = _count(one, slo)
    seen = _confirm(one, slo, count, planned)
    clear = all(row.holds == row.surely_holds for row in seen.limits)
    return seen if clear and seen.stable else _confirm(one, slo, count * _MORE, planned)


def _count(one: Finalist, slo: Slo) -> int:
    """Requests of a first look: enough for a percentile, and for batches that fill. [1]"""
    late = _LATE / (1.0 - slo.percentile / _PERCENT)
    return math.ceil(max(_REQUESTS, late, FILLS * one.choice.prediction.steady_batch))


def _confirm(one: Finalist, slo: Slo, count: int, planned: int) -> Verification:
    seen = records_of(one.setup, one.ledger, one.share, seed=SEED, requests=count)
    said = one.choice.prediction
    # Before the first requests have ended the batch is still filling.
    later = seen.part((seen.arrival_s >= said.e2e_ms.mean * MILLI).nonzero()[0])
    filled = later if len(later.isl) >= count // 2 else seen
    clumps = clumping(filled.ttft_s, slo.percentile / _PERCENT)
    draws = len(filled.isl) / clumps
    limits = (
        _row(Limit.TTFT, slo, slo.ttft_ms, said.ttft_ms, draws, filled.ttft_s),
        _row(Limit.ITL, slo, slo.itl_ms, said.itl_ms, draws, seen.gap_s, seen.gap_count),
        _row(Limit.E2E, slo, slo.e2e_ms, said.e2e_ms, draws, filled.e2e_s),
    )
    stable = is_stable(seen)
    return Verification(
        ok=stable and all(row.holds for row in limits),
        stable=stable,
        limits=limits,
        ttft_ms=percentiles(filled.ttft_s),
        itl_ms=percentiles(seen.gap_s, seen.gap_count),
        tpot_ms=percentiles(filled.tpot_s),
        e2e_ms=percentiles(filled.e2e_s),
        num_requests=len(seen.isl),
        seed=SEED,
        replicas_planned=planned,
    )


def clumping(times_s: Array, share: float) -> float:
    """How many requests are late together: the variance of parts over that of draws. [1]

    Examples:
        >>> clumping(np.tile(np.arange(100.0), 100), 0.95)
        1.0
        >>> clumping(np.sort(np.arange(10_000.0)), 0.95) > 100
        True
    """
    late = times_s > quantiles(times_s, (share,))[0]
    parts = np.array([part.mean() for part in np.array_split(late, _PARTS)])
    drawn = share * (1.0 - share) * _PARTS / len(late)
    return max(1.0, float(parts.var(ddof=1) / drawn))


def _row(  # noqa: PLR0917 - one latency, in closed form and in events
    limit: Limit,
    slo: Slo,
    promised: float | None,
    said: Percentiles,
    draws: float,
    times_s: Array,
    counts: Array | None = None,
) -> Confirmed:
    """Judge one latency; the gaps of one request are one draw, for they move together."""
    percentile = slo.at(limit)
    share = percentile / _PERCENT
    noise = _SURE * math.sqrt(share * (1.0 - share) / draws)
    found_s = quantiles(times_s, (share, share - noise, min(share + noise, 1.0)), counts)
    at, low, high = (float(x) / MILLI for x in found_s)
    return Confirmed(
        limit=limit,
        percentile=percentile,
        promised_ms=promised,
        closed_form_ms=said.at(percentile),
        simulated_ms=at,
        low_ms=low,
        high_ms=high,
        difference=said.at(percentile) / at - 1.0 if at > 0 else 0.0,
        holds=promised is None or low <= promised,
    )


def from_events(one: Finalist, said: Prediction, seen: Verification) -> Prediction:
    """Return a prediction with the latencies that events had."""
    felt: dict[str, Percentiles] = {
        name: getattr(seen, name) for name in ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms")
    }
    interval = interval_of(one.setup, seen.ttft_ms, seen.tpot_ms)
    return said.model_copy(update={**felt, "interval": interval, "method": "simulation"})
