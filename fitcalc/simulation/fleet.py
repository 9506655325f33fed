"""Requests on one replica or several behind a router: the way into the simulation."""

from __future__ import annotations

from enum import StrEnum
from math import inf

import numpy as np

from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.physics.step import StepTimes
from fitcalc.simulation.arrivals import ClosedLoop, OpenLoop
from fitcalc.simulation.engine import Engine, Progress
from fitcalc.simulation.records import Records, merged, records
from fitcalc.simulation.scheduler import SchedulerSettings
from fitcalc.units import Array


class Router(StrEnum):
    """Which replica gets the next request."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUESTS = "least_requests"


def simulate_requests(
    model: StepTimes,
    trace: Trace,
    settings: SchedulerSettings,
    *,
    concurrency: int | None = None,
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
    """Serve every request of a trace and record what happened.

    Args:
        model: Time of a step and of the front end.
        trace: The requests. In a closed loop only their lengths and order count.
        settings: vLLM's settings of each replica.
        concurrency: Clients of a closed loop, all starting at 0 s, each sending the next request
            as its answer ends (``vllm bench serve --max-concurrency``); ``None`` = open loop.
        prefix_hit: Share of each prompt that the prefix cache serves. [1]
        prefix_tokens: Tokens at the start of every prompt that all share. [tokens]
        replicas: Engines behind the router. [1]
        router: How requests are spread; clients of a closed loop always in turn.
        seed: Of the random router.
        frontend_delays: Whether the front end's time passes before the scheduler sees a request,
            so that a closed loop keeps Little's law; otherwise it is added to latencies only.
        tokenized_in_turn: Whether the first requests of a closed loop, all sent at 0 s, wait for
            each other in the front end, whose time beyond that of an empty prompt is tokenizing.
        skip: Whether to time many steps at once; the answer is the same.
        progress: Told the share of requests that have ended, of each replica in turn.

    Raises:
        InvalidValue: a setting makes no sense, or a request can never run.
        UnknownName: no such router.
    """
    if router not in set(Router):
        raise UnknownName("router", router, Router)
    if replicas < 1:
        raise InvalidValue("replicas", replicas, "give a whole number above 0")
    if concurrency is not None and concurrency < 1:
        raise InvalidValue("concurrency", concurrency, "give a whole number above 0")
    outside = np.broadcast_to(model.frontend_s(trace.isl.astype(np.float64)), len(trace))
    frontend = np.array(outside, dtype=np.float64)
    if concurrency is not None and tokenized_in_turn:
        tokenizing = frontend - np.asarray(model.frontend_s(0.0))
        frontend += tokenizing_waits(tokenizing[:concurrency], len(trace), replicas)
    delays = frontend if frontend_delays else np.zeros(len(trace))

    def engine(part: Trace, loop: OpenLoop) -> Engine:
        return Engine(
            model,
            part,
            settings,
            loop,
            prefix_hit=prefix_hit,
            prefix_tokens=prefix_tokens,
            skip=skip,
            progress=progress,
        )

    if router == Router.LEAST_REQUESTS and replicas > 1 and concurrency is None:
        loops = [OpenLoop() for _ in range(replicas)]
        engines = [engine(trace, loop) for loop in loops]
        chosen = _least_requests(engines, trace.arrival_s + delays)
    else:
        chosen = _chosen(router, replicas, len(trace), seed, in_turn=concurrency is not None)
        engines = []
    parts: list[Records] = []
    positions: list[Tokens] = []
    for replica in range(replicas):
        mine = np.flatnonzero(chosen == replica)
        if not len(mine):
            continue
        if engines:
            parts.append(records(engines[replica], trace, frontend, mine, delays=frontend_delays))
        else:
            part = trace.part(mine) if replicas > 1 else trace
            clients = None if concurrency is None else _clients(concurrency, replicas, replica)
            one = engine(part, _loop(part, delays[mine], clients))
            one.run()
            everyone = np.arange(len(mine))
            parts.append(records(one, part, frontend[mine], everyone, delays=frontend_delays))
        positions.append(mine)
    return parts[0] if replicas == 1 else merged(parts, positions, replicas)


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


def _loop(trace: Trace, delays: Array, clients: int | None) -> OpenLoop:
    if clients is not None:
        return ClosedLoop(clients, delays.tolist())
    loop = OpenLoop()
    for request, time_s in enumerate((trace.arrival_s + delays).tolist()):
        loop.push(request, time_s)
    return loop


def _chosen(router: str, replicas: int, count: int, seed: int, *, in_turn: bool) -> Tokens:
    if router == Router.RANDOM and not in_turn:
        return np.random.default_rng(seed).integers(0, replicas, count)
    return np.arange(count) % replicas


def _least_requests(engines: list[Engine], times_s: Array) -> Tokens:
    """Send each request to the replica with the fewest unended ones, the first of equals."""
    chosen = np.zeros(len(times_s), dtype=np.int64)
    given = [0] * len(engines)
    for request in np.argsort(times_s, kind="stable").tolist():
        time_s = float(times_s[request])
        loads: list[int] = []
        for replica, engine in enumerate(engines):
            engine.run(until_s=time_s)
            loads.append(given[replica] - engine.ended_by(time_s))
        replica = int(np.argmin(loads))
        given[replica] += 1
        chosen[request] = replica
        engines[replica].arrivals.push(request, time_s)
    for engine in engines:
        engine.run(inf)
    return chosen
