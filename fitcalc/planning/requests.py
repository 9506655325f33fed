"""The requests that a simulation serves, and loads that nobody can send."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import SchedulingPolicy
from fitcalc.inputs.fleet import Outage
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.setup import Setup

DEFAULT_REQUESTS = 2000
"""Requests that an open loop runs where the traffic leaves it open. [1]"""
MOST_REQUESTS = 1_000_000
"""Requests beyond which no confidence is worth the wait. [1]"""
_ROUNDS = 10
"""Requests a client of a closed loop sends where the traffic leaves it open. [1]"""


def check_load(
    setup: Setup, load: Traffic | Trace | Mix, max_concurrency: int | None, num_warmups: int
) -> None:
    """Refuse loads that nobody can send.

    Raises:
        InvalidValue: it names what makes no sense.
    """
    if num_warmups < 0:
        raise InvalidValue("num_warmups", num_warmups, "give 0 or more")
    if max_concurrency is not None and isinstance(load, Traffic) and load.qps is None:
        fix = "leave it out; the traffic says its clients"
        raise InvalidValue("max_concurrency", max_concurrency, fix)
    ranked = isinstance(load, Mix) and load.ranked
    if ranked and setup.engine.scheduling_policy is SchedulingPolicy.FCFS:
        fix = "set it to priority, or give no class a priority"
        raise InvalidValue("scheduling_policy", "fcfs", fix)


def check_pooled(
    load: Traffic | Trace | Mix,
    max_concurrency: int | None,
    num_warmups: int,
    outages: Sequence[Outage],
) -> None:
    """Refuse what is not simulated where prefill and decode are apart.

    Raises:
        InvalidValue: it names what to leave out.
    """
    clients = load.concurrency if isinstance(load, Traffic) else None
    unknown = {
        "concurrency": max_concurrency or clients,
        "num_warmups": num_warmups or None,
        "outages": len(outages) or None,
    }
    for field, value in unknown.items():
        if value is not None:
            fix = "leave it out; pools serve requests that come by the clock, and do not fail"
            raise InvalidValue(field, value, fix)


def check_interval(load: Traffic | Trace | Mix, until_ci: float | None) -> None:
    """Refuse a confidence that no run can reach.

    Raises:
        InvalidValue: no share, or requests that are not drawn.
    """
    drawn = isinstance(load, Mix) or (isinstance(load, Traffic) and load.qps is not None)
    if until_ci is not None and not (drawn and 0 < until_ci < 1):
        fix = "give a share such as 5%, with requests that are drawn at a rate"
        raise InvalidValue("until_ci", until_ci, fix)


def requests_of(
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


def _count(traffic: Traffic) -> int:
    """Requests to run. [1]"""
    if traffic.num_requests is not None:
        return traffic.num_requests
    return _ROUNDS * traffic.concurrency if traffic.concurrency else DEFAULT_REQUESTS
