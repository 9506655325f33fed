"""One server: its ledger, its step times, and what its users feel in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fitcalc.answers import (
    Bottleneck,
    Interval,
    Limit,
    MemoryLedger,
    Percentiles,
    Prediction,
    Rejection,
)
from fitcalc.catalog.accuracy import spread
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import LlmModel
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated, step_model
from fitcalc.physics.kv_cache import KvLayout, kv_bytes_per_request, kv_layout
from fitcalc.physics.launch import doubt_s
from fitcalc.physics.memory import memory_ledger
from fitcalc.physics.step import StepModel
from fitcalc.planning.bottleneck import bottleneck, request_shares, time_shares
from fitcalc.planning.prefix_room import prefix_room, requests_held, shares_blocks
from fitcalc.planning.setup import ModelName, Setup, set_up
from fitcalc.queueing.predict import Felt, felt
from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.queueing.profile import Profile, profile
from fitcalc.units import MILLI

_ONE_REQUEST = 1e-6
"""Where not even a millionth of a request fits, the cache is full. [1]"""


def start(
    model: ModelName | LlmModel, gpu: str | Gpu, engine: EngineArgs
) -> tuple[Setup, MemoryLedger] | Rejection:
    """Resolve a configuration and account for its memory, or say why vLLM would not start it."""
    setup = set_up(model, gpu, engine)
    if isinstance(setup, Rejection):
        return setup
    ledger = ledger_of(setup)
    return ledger if isinstance(ledger, Rejection) else (setup, ledger)


def ledger_of(setup: Setup) -> MemoryLedger | Rejection:
    """Return the ledger of a resolved configuration."""
    return memory_ledger(setup.model, setup.gpu, setup.engine)


def step_of(setup: Setup) -> StepModel:
    """Return the step times of a resolved configuration."""
    return step_model(
        setup.model,
        [setup.gpu],
        setup.weight,
        setup.kv,
        setup.split,
        engine=setup.engine,
    )


def beyond_length(setup: Setup, traffic: Traffic) -> Rejection | None:
    """Say so where requests are longer than the server accepts. [tokens]"""
    longest = setup.engine.max_model_len
    mean = traffic.context
    if mean <= longest:
        return None
    reason = (
        f"requests of {mean:,.0f} tokens pass max_model_len {longest:,}; raise it or shorten them"
    )
    return Rejection(limit=Limit.CONTEXT, needed=mean, available=longest, reason=reason)


def share_of_rank(setup: Setup, traffic: Traffic) -> Traffic:
    """Return what reaches one data-parallel rank, an engine of its own."""
    ranks = setup.engine.data_parallel_size
    if ranks == 1:
        return traffic
    if traffic.qps is not None:
        return traffic.replace(qps=traffic.qps / ranks)
    return traffic.replace(concurrency=max(1, round((traffic.concurrency or 1) / ranks)))


def request_bytes(setup: Setup, tokens: float) -> float:
    """KV bytes that a running request of so many tokens holds on one rank. [B]"""
    return max(float(kv_bytes_per_request(layout_of(setup), tokens)), 1.0)


def profile_of(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> Profile:
    """Return the closed form's profile of one data-parallel rank."""
    return profile(
        step_of(setup),
        traffic,
        np.array([min(float(setup.engine.seats), fitting(setup, ledger, traffic))]),
        np.array([float(setup.engine.max_num_batched_tokens)]),
        prefix_caching=setup.engine.enable_prefix_caching,
        prefixes=prefixes_of(setup, ledger, traffic),
    )


def prefixes_of(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, rows: int = 1
) -> PrefixRoom | None:
    """Return a rank's room for prefixes as so many equal rows, where requests share any."""
    if not shares_blocks(traffic, prefix_caching=setup.engine.enable_prefix_caching):
        return None
    return prefix_room(traffic, [layout_of(setup)] * rows, np.full(rows, ledger.kv_cache_bytes))


def fitting(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> float:
    """Requests that a rank's KV cache holds at once, on average. [1]"""
    caching, room = setup.engine.enable_prefix_caching, np.array(ledger.kv_cache_bytes)
    return float(requests_held(traffic, layout_of(setup), room, prefix_caching=caching))


def layout_of(setup: Setup) -> KvLayout:
    """Return the layout of a resolved configuration's KV cache."""
    return kv_layout(setup.model, setup.engine, setup.kv, setup.gpu)


def closed_form(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> Prediction | Rejection:
    """Predict in closed form (fitcalc.queueing)."""
    share = share_of_rank(setup, traffic)
    server = profile_of(setup, ledger, share)
    found = felt(server, share)[0]
    if not found.stable:
        ranks = setup.engine.data_parallel_size
        return saturated(traffic.qps or 0.0, found.capacity * ranks)
    shares = time_shares(step_of(setup), [found.steady_batch], share, [found.prefix_hit])[0]
    return prediction(setup, ledger, found, share, shares)


def saturated(rate: float, capacity: float) -> Rejection:
    """Say that a rate is above the largest stable one. [1/s]"""
    reason = f"{rate:.4g} requests/s reach a server that completes at most {capacity:.4g}"
    return Rejection(limit=Limit.SATURATION, needed=rate, available=capacity, reason=reason)


def prediction(
    setup: Setup,
    ledger: MemoryLedger,
    found: Felt,
    traffic: Traffic,
    shares: Mapping[Bottleneck, float],
) -> Prediction:
    """Dress what one data-parallel rank's users feel as the server's prediction."""
    ranks = setup.engine.data_parallel_size
    rate = found.requests_per_s * ranks
    most = fitting(setup, ledger, traffic)
    slots_bind = most >= setup.engine.seats
    return Prediction(
        stable=found.stable,
        ttft_ms=found.ttft,
        itl_ms=found.itl,
        tpot_ms=found.tpot,
        e2e_ms=found.e2e,
        requests_per_s=rate,
        output_tokens_per_s=rate * traffic.osl.mean,
        total_tokens_per_s=rate * traffic.context,
        steady_batch=found.steady_batch * ranks,
        utilization=found.utilization,
        kv_cache_tokens=ledger.kv_cache_tokens * ranks,
        max_concurrency=ledger.max_concurrency * ranks,
        kv_cache_usage=min(1.0, found.steady_batch / max(most, _ONE_REQUEST)),
        bottleneck=bottleneck(shares, found, slots_bind=slots_bind),
        shares=request_shares(shares, found, slots_bind=slots_bind),
        calibrated=calibrated(setup.gpu, setup.weight),
        method="closed_form",
        interval=interval_of(setup, found.ttft, found.tpot),
        prefix_hit=found.prefix_hit,
    )


def interval_of(setup: Setup, ttft: Percentiles, tpot: Percentiles) -> Interval:
    """Return the 80 % interval of the means, from residuals of the prediction's class. [ms]

    Without CUDA graphs the doubt in what the host takes widens it.
    """
    kind = calibrated(setup.gpu, setup.weight)
    doubt = _doubt_ms(setup, tpot.mean)

    def around(mean: float, metric: str) -> tuple[float, float]:
        low, high = (mean * x for x in spread(metric, kind, is_moe=setup.model.is_moe))
        below, above = (math.hypot(end - mean, doubt) - abs(end - mean) for end in (low, high))
        return low - min(below, low / 2.0), high + above

    return Interval(ttft_ms=around(ttft.mean, "ttft"), tpot_ms=around(tpot.mean, "tpot"))


def _doubt_ms(setup: Setup, gap_ms: float) -> float:
    """How much longer a step may be where the estimate of the host's time holds it up. [ms]"""
    if not setup.engine.enforce_eager:
        return 0.0
    return doubt_s(step_of(setup).launch, setup.gpu, gap_ms * MILLI) / MILLI
