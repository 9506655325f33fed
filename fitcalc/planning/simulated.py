"""One configuration, event by event: what the scheduler does to every request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.fleet import Outage, Pools, Servers
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.step import StepModel
from fitcalc.planning.fleets import (
    labels_of,
    of_ranks,
    replicas_of,
    start_fleet,
)
from fitcalc.planning.requests import (
    MOST_REQUESTS,
    check_interval,
    check_load,
    check_pooled,
    requests_of,
)
from fitcalc.planning.scheduling import settings_of
from fitcalc.planning.server import beyond_length, step_of
from fitcalc.planning.serving import serve, serve_apart, with_pools
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.simulation.disaggregated import Disaggregated
from fitcalc.simulation.fleet import Replica
from fitcalc.simulation.progress import Progress, Stopped
from fitcalc.simulation.quantiles import p99_spread
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation, simulation
from fitcalc.simulation.routers import Router
from fitcalc.simulation.settings import SchedulerSettings

_UNHASHED = "hash_ids were not looked up: what layers with a state cache is not simulated"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A simulation: its answer, and what it was made of.

    Attributes:
        answer: What the users felt.
        records: Every request that ended.
        trace: The requests as they came.
        settings: vLLM's settings of the first server.
        step: Time of its steps.
        pools: What either pool saw, where prefill and decode are apart.
    """

    answer: Simulation
    records: Records
    trace: Trace
    settings: SchedulerSettings
    step: StepModel
    pools: Disaggregated | None = None


def simulate(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic_or_trace: Traffic | Trace | Mix,
    *,
    max_concurrency: int | None = None,
    num_warmups: int = 0,
    seed: int = 0,
    replicas: int | Sequence[Servers] = 1,
    pools: Pools | None = None,
    router: str = Router.ROUND_ROBIN,
    outages: Sequence[Outage] = (),
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
        replicas: Servers behind the router, or groups of them that differ; each data-parallel
            rank of one counts. [1]
        pools: Servers that only prefill and others that only decode, in place of ``replicas``.
        router: ``round_robin``, ``random``, ``least_requests``, ``least_kv_usage``, ``prefix`` or
            ``session``.
        outages: Servers that fail and return; their requests are sent again, elsewhere.
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
        pools=pools,
        router=router,
        outages=outages,
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
    replicas: int | Sequence[Servers] = 1,
    pools: Pools | None = None,
    router: str = Router.ROUND_ROBIN,
    outages: Sequence[Outage] = (),
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
        pools: As in ``simulate``.
        router: As in ``simulate``.
        outages: As in ``simulate``.
        slo: As in ``simulate``.
        until_ci: Run twice the requests until the 95 % interval of the TTFT's p99 is within this
            share of it, a million requests at most; ``None`` = run once.
        progress: Told how many requests have ended; where it raises ``Stopped`` they are all.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
        Stopped: no request had ended by then.
    """
    fleet = start_fleet(model, gpu, engine, replicas, pools)
    if isinstance(fleet, Rejection):
        return fleet
    setup = fleet.shortest.setup
    check_load(setup, load, max_concurrency, num_warmups)
    if pools is not None:
        check_pooled(load, max_concurrency, num_warmups, outages)
    check_interval(load, until_ci)
    too_long = beyond_length(setup, load) if isinstance(load, Traffic) else None
    if too_long is not None:
        return too_long
    count = None
    while True:
        trace, refused = requests_of(setup, load, seed=seed, count=count)
        if pools is None:
            apart = None
            seen = serve(
                replicas_of(fleet.groups),
                load,
                trace,
                max_concurrency=max_concurrency,
                warmups=num_warmups,
                seed=seed,
                router=router,
                outages=of_ranks(outages, fleet.groups),
                progress=progress,
            )
        else:
            apart = serve_apart(fleet, load, trace, seed=seed, router=router, progress=progress)
            seen = apart.clients
        count = 2 * len(trace)
        if until_ci is None or count > MOST_REQUESTS or _enough(seen, until_ci):
            break
    if not len(seen.isl):
        raise Stopped
    seen = replace(seen, refused=refused)
    answer = simulation(
        seen,
        seed=seed,
        slo=slo,
        promises=load.promises(slo) if isinstance(load, Mix) else (),
        trace=trace,
        labels=labels_of(fleet.groups),
    )
    if apart is not None:
        answer = with_pools(answer, apart, fleet)
    first = fleet.groups[0]
    settings = settings_of(first.setup, first.ledger)
    hashed = trace.hash_ids is not None and settings.enable_prefix_caching
    if hashed and not settings.finds_prefixes:
        answer = answer.model_copy(update={"notes": (_UNHASHED,)})
    return Run(answer, seen, trace, settings, step_of(first.setup), apart)


def _enough(seen: Records, until_ci: float) -> bool:
    """Whether the p99 of TTFT is known well enough, or somebody has seen enough."""
    return seen.served is not None or p99_spread(seen.ttft_s) <= until_ci


def records_of(
    setup: Setup, ledger: MemoryLedger, traffic: Traffic, *, seed: int, requests: int | None = None
) -> Records:
    """Serve requests of a traffic with one rank of a server that has started."""
    trace, _ = requests_of(setup, traffic, seed=seed, count=requests)
    return serve([Replica(step_of(setup), settings_of(setup, ledger))], traffic, trace, seed=seed)
