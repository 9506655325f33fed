"""Requests on one replica or several behind a router: the way into the simulation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.fleet import Outage
from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.physics.step import StepTimes
from fitcalc.simulation.arrivals import ClosedLoop, OpenLoop, TimedLoop
from fitcalc.simulation.engine import Engine, law_of
from fitcalc.simulation.law import StepLaw
from fitcalc.simulation.progress import Progress, Stopped, Tally
from fitcalc.simulation.records import Records, ended, merged, records
from fitcalc.simulation.routed import Fleet
from fitcalc.simulation.routers import BLIND, Chooser, Router
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.units import Array

__all__ = ["Replica", "Router", "simulate_fleet", "simulate_requests"]


@dataclass(frozen=True, slots=True)
class Replica:
    """A server of a fleet.

    Attributes:
        model: Time of its steps and of its front end.
        settings: vLLM's settings.
    """

    model: StepTimes
    settings: SchedulerSettings


def simulate_requests(
    model: StepTimes,
    trace: Trace,
    settings: SchedulerSettings,
    *,
    concurrency: int | None = None,
    paced: bool = False,
    warmups: int = 0,
    prefix_hit: float = 0.0,
    prefix_tokens: int = 0,
    replicas: int = 1,
    router: str = Router.ROUND_ROBIN,
    seed: int = 0,
    frontend_delays: bool = True,
    tokenized_in_turn: bool = False,
    skip: bool = True,
    progress: Progress | None = None,
) -> Records:
    """Serve every request of a trace by equal replicas and record what happened.

    Args:
        model: Time of a step and of the front end.
        trace: The requests.
        settings: vLLM's settings of each replica.
        concurrency: As in ``simulate_fleet``.
        paced: As in ``simulate_fleet``.
        warmups: As in ``simulate_fleet``.
        prefix_hit: As in ``simulate_fleet``.
        prefix_tokens: As in ``simulate_fleet``.
        replicas: Engines behind the router. [1]
        router: How requests are spread.
        seed: Of the random router.
        frontend_delays: As in ``simulate_fleet``.
        tokenized_in_turn: As in ``simulate_fleet``.
        skip: Whether to pass many steps at once; the answer is the same.
        progress: Told how many requests have ended; where it raises ``Stopped`` they are all.

    Raises:
        InvalidValue: a setting makes no sense, or a request can never run.
        UnknownName: no such router.
    """
    if replicas < 1:
        raise InvalidValue("replicas", replicas, "give a whole number above 0")
    return simulate_fleet(
        [Replica(model, settings)] * replicas,
        trace,
        concurrency=concurrency,
        paced=paced,
        warmups=warmups,
        prefix_hit=prefix_hit,
        prefix_tokens=prefix_tokens,
        router=router,
        seed=seed,
        frontend_delays=frontend_delays,
        tokenized_in_turn=tokenized_in_turn,
        skip=skip,
        progress=progress,
    )


def simulate_fleet(
    fleet: Sequence[Replica],
    trace: Trace,
    *,
    concurrency: int | None = None,
    paced: bool = False,
    warmups: int = 0,
    prefix_hit: float = 0.0,
    prefix_tokens: int = 0,
    router: str = Router.ROUND_ROBIN,
    seed: int = 0,
    outages: Sequence[Outage] = (),
    frontend_delays: bool = True,
    tokenized_in_turn: bool = False,
    computed_elsewhere: bool = False,
    skip: bool = True,
    progress: Progress | None = None,
) -> Records:
    """Serve every request of a trace and record what happened.

    Args:
        fleet: The replicas, which may differ.
        trace: The requests. In a closed loop only their lengths and order count.
        concurrency: Clients of a closed loop, all starting at 0 s, each sending the next request
            as its answer ends (``vllm bench serve --max-concurrency``); ``None`` = open loop.
        paced: Whether those clients send no request before its arrival (``--request-rate``).
        warmups: Copies of the first request that each replica in turn has served before
            (``--num-warmups``); they leave its prompt in the prefix cache and are not counted.
        prefix_hit: Share of each prompt that the prefix cache serves. [1]
        prefix_tokens: Tokens at the start of every prompt that all share. [tokens]
        router: How requests are spread; clients of a closed loop always in turn.
        seed: Of the random router.
        outages: Replicas that fail and return; their requests start anew elsewhere.
        frontend_delays: Whether the front end's time passes before the scheduler sees a request,
            so that a closed loop keeps Little's law; otherwise it is added to latencies only.
        tokenized_in_turn: Whether the first requests of a closed loop, all sent at 0 s, wait for
            each other in the front end, whose time beyond that of an empty prompt is tokenizing.
        computed_elsewhere: Whether prompts come with their KV: all but the last token.
        skip: Whether to pass many steps at once; the answer is the same.
        progress: Told how many requests have ended; where it raises ``Stopped`` they are all.

    Raises:
        InvalidValue: a setting makes no sense, or a request can never run.
        UnknownName: no such router.
    """
    _check(router, concurrency, outages)
    count, replicas, closed = len(trace), len(fleet), concurrency is not None
    frontend = np.zeros(count)
    if not computed_elsewhere:
        in_turn = concurrency if tokenized_in_turn and not paced else None
        frontend = _frontend_s(fleet[0].model, trace, in_turn, replicas)
    delays = frontend if frontend_delays else np.zeros(count)
    laws: dict[int, StepLaw] = {}
    tally = None if progress is None else Tally(count, progress).add
    warm = set(range(min(warmups, replicas)))

    def engine(replica: int, part: Trace, loop: OpenLoop) -> Engine:
        one = fleet[replica]
        if id(one) not in laws:
            laws[id(one)] = law_of(one.model, trace, one.settings)
        return Engine(
            one.model,
            part,
            one.settings,
            loop,
            prefix_hit=prefix_hit,
            prefix_tokens=prefix_tokens,
            computed_elsewhere=computed_elsewhere,
            skip=skip,
            keep_steps=False,
            warm=replica in warm,
            law=laws[id(one)],
            ended=tally,
        )

    chooser = Chooser(Router.ROUND_ROBIN if closed else router, trace, replicas, seed)
    if not closed and (outages or (router not in BLIND and replicas > 1)):
        together = Fleet(engine, chooser, trace, replicas)
        warm.clear()  # who comes back after a failure holds nothing
        with suppress(Stopped):
            together.serve(trace.arrival_s + delays, outages)
        return together.records(frontend, delays=frontend_delays)
    everyone = list(range(replicas))
    chosen = np.array([chooser.choose(i, 0.0, (), everyone) for i in range(count)])
    parts: list[Records] = []
    positions: list[Tokens] = []
    with suppress(Stopped):
        for replica in range(replicas):
            mine = np.flatnonzero(chosen == replica)
            part = trace.part(mine) if replicas > 1 and len(mine) else trace
            clients = None if concurrency is None else _clients(concurrency, replicas, replica)
            one = engine(replica, part, _loop(part, delays[mine], clients, paced=paced))
            try:
                one.run()
            finally:  # what has ended counts, also where somebody has seen enough
                served = ended(one)
                parts.append(records(one, part, frontend[mine], served, delays=frontend_delays))
                positions.append(mine[served])
    return parts[0] if replicas == 1 and len(served) == count else merged(parts, positions, count)


def _check(router: str, concurrency: int | None, outages: Sequence[Outage]) -> None:
    """Refuse what no fleet does.

    Raises:
        InvalidValue: a loop of nobody, or one beside outages.
        UnknownName: no such router.
    """
    if router not in set(Router):
        raise UnknownName("router", router, Router)
    if concurrency is not None and concurrency < 1:
        raise InvalidValue("concurrency", concurrency, "give a whole number above 0")
    if outages and concurrency is not None:
        fix = "give requests that come by the clock; clients in a loop keep to their server"
        raise InvalidValue("outages", len(outages), fix)


def _frontend_s(model: StepTimes, trace: Trace, in_turn: int | None, replicas: int) -> Array:
    """Time of each request outside the engine; the first ``in_turn`` wait for each other. [s]"""
    outside = model.frontend_s(trace.isl.astype(np.float64))
    frontend: Array = np.array(np.broadcast_to(outside, len(trace)), dtype=np.float64)
    if in_turn is not None:
        tokenizing = frontend - np.asarray(model.frontend_s(0.0))
        frontend += tokenizing_waits(tokenizing[:in_turn], len(trace), replicas)
    return frontend


def _clients(concurrency: int, replicas: int, replica: int) -> int:
    """Clients of one replica when they are dealt out in turn. [1]"""
    clients = len(range(replica, concurrency, replicas))
    if clients == 0:
        raise InvalidValue(
            "concurrency", concurrency, f"give at least one client each of {replicas}"
        )
    return clients


def tokenizing_waits(tokenizing: Array, count: int, replicas: int) -> Array:
    """Time for which the first clients, all sent at 0 s, wait to be tokenized one by one. [s]

    vLLM's front end tokenizes in one thread (vllm/config/model.py, ``renderer_num_workers``).

    Examples:
        >>> tokenizing_waits(np.array([1.0, 2.0, 3.0]), 4, 1).tolist()
        [0.0, 1.0, 3.0, 0.0]
    """
    waits = np.zeros(count)
    for replica in range(replicas):
        mine = tokenizing[replica::replicas]
        waits[replica : len(tokenizing) : replicas] = np.cumsum(mine) - mine
    return waits


def _loop(trace: Trace, delays: Array, clients: int | None, *, paced: bool) -> OpenLoop:
    if clients is not None:
        return ClosedLoop(clients, delays.tolist(), trace.arrival_s if paced else None)
    return TimedLoop(trace.arrival_s[: len(delays)] + delays) if len(delays) else OpenLoop()
