"""One configuration, event by event: what the scheduler does to every request."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs, SchedulingPolicy
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.step import StepModel
from fitcalc.planning.scheduling import settings_of
from fitcalc.planning.server import (
    beyond_length,
    start,
    step_of,
)
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.simulation.engine import Progress
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation, p99_spread, simulation
from fitcalc.simulation.settings import SchedulerSettings

DEFAULT_REQUESTS = 2000
"""Requests that an open loop runs where the traffic leaves it open. [1]"""
_ROUNDS = 10
"""Requests a client of a closed loop sends where the traffic leaves it open. [1]"""
_UNHASHED = "hash_ids were not looked up: this model has several groups of KV layers"
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
    traffic_or_trace: Traffic | Trace | Mix,
    *,
    max_concurrency: int | None = None,
    num_warmups: int = 0,
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
        traffic_or_trace: A traffic or a mix of classes (requests are drawn) or a trace (they are
            given).
        max_concurrency: Requests under way at most; others are sent as answers end, and not
            before their time (``vllm bench serve --max-concurrency``); ``None`` = any.
        num_warmups: Copies of the first request served before the others and not counted
            (``vllm bench serve --num-warmups``); they leave its prompt in the prefix cache.
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
        max_concurrency=max_concurrency,
        num_warmups=num_warmups,
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
    load: Traffic | Trace | Mix,
    *,
    max_concurrency: int | None = None,
    num_warmups: int = 0,
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
        max_concurrency: As in ``simulate``.
        num_warmups: As in ``simulate``.
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
    _check(setup, load, replicas, max_concurrency, num_warmups)
    if isinstance(load, Traffic):
        too_long = beyond_length(setup, load)
        if too_long is not None:
            return too_long
    drawn = isinstance(load, Mix) or (isinstance(load, Traffic) and load.qps is not None)
    if until_ci is not None and not (drawn and 0 < until_ci < 1):
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
            max_concurrency=max_concurrency,
            warmups=num_warmups,
            seed=seed,
            replicas=replicas * setup.engine.data_parallel_size,  # each rank schedules alone
            router=router,
            progress=progress,
        )
        seen = replace(seen, refused=refused)
        count = 2 * len(trace)
        if until_ci is None or p99_spread(seen.ttft_s) <= until_ci or count > _MOST_REQUESTS:
            break
    settings = settings_of(setup, ledger)
    answer = simulation(seen, seed=seed, slo=slo, trace=trace)
    if trace.hash_ids is not None and settings.block_rules and settings.enable_prefix_caching:
        answer = answer.model_copy(update={"notes": (_UNHASHED,)})
    return Run(answer, seen, trace, settings, step_of(setup))


def _check(
    setup: Setup,
    load: Traffic | Trace | Mix,
    replicas: int,
    max_concurrency: int | None,
    num_warmups: int,
) -> None:
    """Refuse loads that nobody can send.

    Raises:
        InvalidValue: it names what makes no sense.
    """
    if replicas < 1:
        raise InvalidValue("replicas", replicas, "give a whole number above 0")
    if num_warmups < 0:
        raise InvalidValue("num_warmups", num_warmups, "give 0 or more")
    if max_concurrency is not None and isinstance(load, Traffic) and load.qps is None:
        fix = "leave it out; the traffic says its clients"
        raise InvalidValue("max_concurrency", max_concurrency, fix)
    ranks = {one.priority for one in load.classes} if isinstance(load, Mix) else ()
    if len(ranks) > 1 and setup.engine.scheduling_policy is SchedulingPolicy.FCFS:
        fix = "set it to priority, or give no class a priority"
        raise InvalidValue("scheduling_policy", "fcfs", fix)


def _requests(
    setup: Setup, load: Traffic | Trace | Mix, *, seed: int, count: int | None = None
) -> tuple[Trace, int]:
    """Return the requests to serve, and how many are too long for the server.

    Raises:
        InvalidValue: every request is too long.
    """
    if isinstance(load, Traffic):
        load = Trace.from_traffic(load, seed=seed, num_requests=count or _count(load))
    elif isinstance(load, Mix):
        load = load.draw(count or load.num_requests or DEFAULT_REQUESTS, seed=seed)
    longest = setup.engine.max_model_len
    fitting = np.flatnonzero(load.isl + load.osl <= longest)
    if not len(fitting):
        fix = f"give requests of at most max_model_len = {longest} tokens"
        raise InvalidValue("requests", "only longer ones", fix)
    if len(fitting) == len(load):
        return load, 0
    return load.part(fitting), len(load) - len(fitting)


def records_of(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, *, seed: int, requests: int | None = None
) -> Records:
    """Serve requests of a traffic with one rank of a server that has started."""
    trace, _ = _requests(setup, traffic, seed=seed, count=requests)
    return _run(setup, ledger, traffic, trace, seed=seed)


def _run(
    setup: Setup,
    ledger: MemoryLedger,
    load: Traffic | Trace | Mix,
    trace: Trace,
    *,
    max_concurrency: int | None = None,
    warmups: int = 0,
    seed: int,
    replicas: int = 1,
    router: str = "round_robin",
    progress: Progress | None = None,
) -> Records:
    traffic = load.traffic if isinstance(load, Mix) else load
    traffic = None if isinstance(traffic, Trace) else traffic
    caching = setup.engine.enable_prefix_caching
    return simulate_requests(
        step_of(setup),
        trace,
        settings_of(setup, ledger),
        concurrency=max_concurrency or (traffic.concurrency if traffic else None),
        paced=trace.span_s > 0,
        warmups=warmups,
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
