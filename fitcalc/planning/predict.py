"""One configuration: what do its users feel."""

from __future__ import annotations

import math

from fitcalc.answers import Limit, MemoryLedger, Prediction, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated
from fitcalc.planning.bottleneck import time_shares, waiting_shares
from fitcalc.planning.requests import DEFAULT_REQUESTS
from fitcalc.planning.server import (
    beyond_length,
    closed_form,
    interval_of,
    share_of_rank,
    start,
    step_of,
)
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.planning.simulated import records_of
from fitcalc.simulation.report import simulation

METHODS = ("auto", "closed_form", "simulation")
TRUSTED = 0.7
"""Utilization above which percentiles come from events. [1]"""
FILLS = 10
"""Batches that a run of events serves at least. [1]"""


def predict(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic: Traffic,
    *,
    method: str = "auto",
    seed: int = 0,
) -> Prediction | Rejection:
    """Predict what one server's users feel under a traffic.

    Args:
        model: As in ``fit``.
        gpu: As in ``fit``.
        engine: vLLM's settings; open fields resolve as that vLLM would.
        traffic: What reaches this one server.
        method: ``closed_form``, ``simulation`` (event by event), or ``auto``: events for closed
            loops of a known number of requests, where ``prefill_schedule_interval`` or
            ``long_prefill_token_threshold`` hold prompts back, and above a utilization of 0.7;
            the closed form otherwise.
        seed: Of the simulation.

    Returns:
        A prediction, or a falsy ``Rejection``: it does not fit, or the rate is above the largest
        stable one (``Limit.SATURATION``, needed and available in requests a second).

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    if method not in METHODS:
        raise InvalidValue("method", method, f"use one of {', '.join(METHODS)}")
    started = start(model, gpu, engine or EngineArgs())
    if isinstance(started, Rejection):
        return started
    setup, ledger = started
    too_long = beyond_length(setup, traffic)
    if too_long is not None:
        return too_long
    counted = traffic.concurrency is not None and traffic.num_requests is not None
    if method == "simulation" or (method == "auto" and (counted or setup.engine.paces_prefills)):
        return simulated_prediction(setup, ledger, traffic, seed=seed)
    if setup.engine.paces_prefills:
        fix = "prefill_schedule_interval and long_prefill_token_threshold ask for simulation"
        raise InvalidValue("method", method, fix)
    said = closed_form(setup, ledger, traffic)
    if method != "auto" or traffic.qps is None or isinstance(said, Rejection):
        return said
    if said.utilization > TRUSTED:
        return _from_events(setup, ledger, traffic, said, seed)
    return said


def _from_events(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, said: Prediction, seed: int
) -> Prediction | Rejection:
    """Run events long enough for the batch to fill; utilization stays the share of capacity."""
    if traffic.num_requests is None:
        count = max(DEFAULT_REQUESTS, math.ceil(FILLS * said.steady_batch))
        traffic = traffic.replace(num_requests=count)
    seen = simulated_prediction(setup, ledger, traffic, seed=seed)
    if isinstance(seen, Rejection):
        return seen
    return seen.model_copy(update={"utilization": said.utilization})


def simulated_prediction(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, *, seed: int
) -> Prediction | Rejection:
    """Predict one server by running its requests event by event."""
    ranks = setup.engine.data_parallel_size
    share = share_of_rank(setup, traffic)
    found = simulation(records_of(setup, ledger, share, seed=seed), seed=seed)
    if not found.stable:
        reason = f"the queue grew while {found.num_requests} requests came; fewer a second hold"
        return Rejection(
            limit=Limit.SATURATION,
            needed=share.qps or 0.0,
            available=found.requests_per_s,
            reason=reason,
        )
    shares = time_shares(step_of(setup), [found.steady_batch], share, [found.cached_share])[0]
    said = found.prediction(
        kv_cache_tokens=ledger.kv_cache_tokens * ranks,
        max_concurrency=ledger.max_concurrency * ranks,
        bottleneck=max(shares, key=lambda name: shares[name]),
        shares=waiting_shares(shares, queue=found.queue_ms.mean / found.e2e_ms.mean),
        calibrated=calibrated(setup.gpu, setup.weight),
        interval=interval_of(setup, found.ttft_ms, found.tpot_ms),
    )
    if ranks == 1:
        return said
    rates = ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s", "steady_batch")
    return said.model_copy(update={name: getattr(said, name) * ranks for name in rates})
