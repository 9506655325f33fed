"""One configuration, event by event: what the scheduler does to every request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.answers import Limit, MemoryLedger, Prediction, Rejection
from fitcalc.catalog.model import LayerKind
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated
from fitcalc.physics.kv_cache import KvLayout, kv_layout, num_blocks
from fitcalc.physics.step import StepModel
from fitcalc.planning.bottleneck import time_shares
from fitcalc.planning.server import (
    beyond_length,
    interval_of,
    share_of_rank,
    start,
    step_of,
)
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.simulation.blocks import BlockRule
from fitcalc.simulation.engine import Progress
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation, p99_spread, simulation
from fitcalc.simulation.settings import SchedulerSettings

DEFAULT_REQUESTS = 2000
"""Requests that an open loop runs where the traffic leaves it open. [1]"""
_ROUNDS = 10
"""Requests a client of a closed loop sends where the traffic leaves it open. [1]"""
_BLOCK = 16
_MOST_REQUESTS = 1_000_000
"""Requests beyond which no confidence is worth the wait. [1]"""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A simulation: its answer, and what it was made of.

    Attributes:
        answer: What the users felt.
        records: Every request.
        trace: The requests as they came.
        settings: vLLM's settings of each replica.
        step: Time of a step.
    """

    answer: Simulation
    records: Records
    trace: Trace
    settings: SchedulerSettings
    step: StepModel


def simulate(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic_or_trace: Traffic | Trace,
    *,
    seed: int = 0,
    replicas: int = 1,
    router: str = "round_robin",
    slo: Slo | None = None,
) -> Simulation | Rejection:
    """Serve requests one by one under vLLM's scheduler.

    Args:
        model: As in ``fit``.
        gpu: As in ``fit``.
        engine: vLLM's settings of each replica; open fields resolve as that vLLM would.
        traffic_or_trace: A traffic (its requests are drawn) or a trace (they are given).
        seed: Of the draw; the same seed gives the same answer.
        replicas: Servers behind the router; each data-parallel rank of one counts. [1]
        router: ``round_robin``, ``random``, ``least_requests``, ``least_kv_usage``, ``prefix`` or
            ``session``.
        slo: What counts as good throughput; ``None`` = not asked.

    Returns:
        What the users of all replicas felt, or a falsy ``Rejection`` where it does not fit.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    done = run_simulation(
        model,
        gpu,
        engine,
        traffic_or_trace,
        seed=seed,
        replicas=replicas,
        router=router,
        slo=slo,
    )
    return done if isinstance(done, Rejection) else done.answer


def run_simulation(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    load: Traffic | Trace,
    *,
    seed: int = 0,
    replicas: int = 1,
    router: str = "round_robin",
    slo: Slo | None = None,
    until_ci: float | None = None,
    progress: Progress | None = None,
) -> Run | Rejection:
    """Simulate as ``simulate`` does, and keep what the answer was made of.

    Args:
        model: As in ``simulate``.
        gpu: As in ``simulate``.
        engine: As in ``simulate``.
        load: As in ``simulate``.
        seed: As in ``simulate``.
        replicas: As in ``simulate``.
        router: As in ``simulate``.
        slo: As in ``simulate``.
        until_ci: Run twice the requests until the 95 % interval of the TTFT's p99 is within this
            share of it, a million requests at most; ``None`` = run once.
        progress: Told the share of requests that have ended.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    started = start(model, gpu, engine or EngineArgs())
    if isinstance(started, Rejection):
        return started
    setup, ledger = started
    if replicas < 1:
        raise InvalidValue("replicas", replicas, "give a whole number above 0")
    if isinstance(load, Traffic):
        too_long = beyond_length(setup, load)
        if too_long is not None:
            return too_long
    if until_ci is not None and not (isinstance(load, Traffic) and load.qps and 0 < until_ci < 1):
        fix = "give a share such as 5%, with requests that are drawn at a rate"
        raise InvalidValue("until_ci", until_ci, fix)
    count = None
    while True:
        trace, refused = _requests(setup, load, seed=seed, count=count)
        seen = _run(
            setup,
            ledger,
            load,
            trace,
            seed=seed,
            replicas=replicas * setup.engine.data_parallel_size,  # each rank schedules alone
            router=router,
            progress=progress,
        )
        seen = replace(seen, refused=refused)
        count = 2 * len(trace)
        if until_ci is None or p99_spread(seen.ttft_s) <= until_ci or count > _MOST_REQUESTS:
            break
    settings = settings_of(setup, ledger, trace)
    return Run(simulation(seen, seed=seed, slo=slo), seen, trace, settings, step_of(setup))


def _requests(
    setup: Setup, load: Traffic | Trace, *, seed: int, count: int | None = None
) -> tuple[Trace, int]:
    """Return the requests to serve, and how many are too long for the server.

    Raises:
        InvalidValue: every request is too long.
    """
    if isinstance(load, Traffic):
        return Trace.from_traffic(load, seed=seed, num_requests=count or _count(load)), 0
    longest = setup.engine.max_model_len
    fitting = np.flatnonzero(load.isl + load.osl <= longest)
    if not len(fitting):
        fix = f"give requests of at most max_model_len = {longest} tokens"
        raise InvalidValue("trace", "only longer requests", fix)
    if len(fitting) == len(load):
        return load, 0
    return load.part(fitting), len(load) - len(fitting)


def simulated_prediction(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, *, seed: int
) -> Prediction | Rejection:
    """Predict one server by running its requests event by event."""
    ranks = setup.engine.data_parallel_size
    share = share_of_rank(setup, traffic)
    trace, _ = _requests(setup, share, seed=seed)
    found = simulation(_run(setup, ledger, share, trace, seed=seed), seed=seed)
    if not found.stable:
        reason = f"the queue grew while {found.num_requests} requests came; fewer a second hold"
        return Rejection(
            limit=Limit.SATURATION,
            needed=share.qps or 0.0,
            available=found.requests_per_s,
            reason=reason,
        )
    shares = time_shares(step_of(setup), [found.steady_batch], share)[0]
    said = found.prediction(
        kv_cache_tokens=ledger.kv_cache_tokens * ranks,
        max_concurrency=ledger.max_concurrency * ranks,
        bottleneck=max(shares, key=lambda name: shares[name]),
        calibrated=calibrated(setup.gpu, setup.weight),
        interval=interval_of(setup, found.ttft_ms, found.tpot_ms),
    )
    if ranks == 1:
        return said
    rates = ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s", "steady_batch")
    return said.model_copy(update={name: getattr(said, name) * ranks for name in rates})


def _run(
    setup: Setup,
    ledger: MemoryLedger,
    load: Traffic | Trace,
    trace: Trace,
    *,
    seed: int,
    replicas: int = 1,
    router: str = "round_robin",
    progress: Progress | None = None,
) -> Records:
    traffic = load if isinstance(load, Traffic) else None
    caching = setup.engine.enable_prefix_caching
    return simulate_requests(
        step_of(setup),
        trace,
        settings_of(setup, ledger, trace),
        concurrency=traffic.concurrency if traffic else None,
        tokenized_in_turn=True,
        prefix_hit=traffic.prefix_hit if traffic and caching else 0.0,
        prefix_tokens=traffic.prefix_tokens if traffic and caching else 0,
        replicas=replicas,
        router=router,
        seed=seed,
        progress=progress,
    )


def _count(traffic: Traffic) -> int:
    """Requests to run. [1]"""
    if traffic.num_requests is not None:
        return traffic.num_requests
    return _ROUNDS * traffic.concurrency if traffic.concurrency else DEFAULT_REQUESTS


def settings_of(setup: Setup, ledger: MemoryLedger, trace: Trace) -> SchedulerSettings:  # noqa: ARG001
    """Return the scheduler's settings, with the blocks of each group of layers as vLLM lays out.

    Prefix hits are found in one group of blocks; where kinds of layers differ they are given.
    """
    layout = kv_layout(setup.model, setup.engine, setup.kv, setup.gpu)
    rules = block_rules(layout)
    plain = len(rules) == 1 and rules[0] == BlockRule(rules[0].block_size)
    blocks = float(num_blocks(layout, ledger.kv_cache_bytes))
    return SchedulerSettings(
        max_num_seqs=setup.engine.max_num_seqs,
        max_num_batched_tokens=setup.engine.max_num_batched_tokens,
        num_gpu_blocks=max(2, int(blocks)),
        block_size=min((r.block_size for r in rules if r.block_size), default=_BLOCK),
        enable_chunked_prefill=setup.engine.enable_chunked_prefill,
        async_scheduling=setup.engine.async_scheduling,
        enable_prefix_caching=setup.engine.enable_prefix_caching,
        policy=setup.engine.scheduling_policy,
        max_num_active_seqs=setup.engine.max_num_active_seqs,
        long_prefill_token_threshold=setup.engine.long_prefill_token_threshold,
        prefill_schedule_interval=setup.engine.prefill_schedule_interval,
        watermark=setup.engine.watermark,
        block_rules=() if plain else rules,
    )


def block_rules(layout: KvLayout) -> tuple[BlockRule, ...]:
    """Say how a sequence takes blocks in each kind of layers; equal groups make one rule."""
    groups = Counter(g.cache for g in layout.groups)
    rules: list[BlockRule] = []
    for cache, count in groups.items():
        size = cache.block_size * (layout.context_parallel if cache.window is None else 1)
        if cache.kind is LayerKind.STATE:
            rules.append(BlockRule.state(layout.state_blocks, count))
        elif cache.kind is LayerKind.SLIDING and cache.window:
            rules.append(BlockRule.sliding(size, cache.window, layout.max_in_flight, count))
        elif cache.kind is LayerKind.CHUNKED and cache.window:
            rules.append(BlockRule.chunked(size, cache.window, layout.max_in_flight, count))
        else:
            rules.append(BlockRule(size, count))
    return tuple(rules)
