"""Several classes of traffic that come together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """One class of requests.

    Attributes:
        traffic: Its rate and its lengths, an open loop.
        priority: vLLM's priority of its requests, lower runs first.
        rates: Its rate over time; ``None`` = the traffic's own, all the time.
    """

    traffic: Traffic
    priority: int = 0
    rates: Rates | None = None


def mixture(classes: Sequence[TrafficClass], *, num_requests: int, seed: int = 0) -> Trace:
    """Draw the first requests of several classes that come together.

    Each class draws from streams of its own, so that another one changes none of its requests.

    Args:
        classes: The classes; each comes at its own rate.
        num_requests: Requests of all classes. [1]
        seed: Equal seeds draw equal requests.

    Raises:
        InvalidValue: no class, a closed loop, or no request.
    """
    if not classes:
        raise InvalidValue("classes", "none", "give at least one class of traffic")
    if num_requests < 1:
        raise InvalidValue("num_requests", num_requests, "give a number of requests above 0")
    parts: list[Trace] = []
    for number, one in enumerate(classes):
        if one.traffic.qps is None:
            fix = "give each class its qps; clients in a loop do not mix"
            raise InvalidValue("classes", "concurrency", fix)
        parts.append(_drawn(one, num_requests, seed=seed + 1_000_003 * number))
    arrival = np.concatenate([part.arrival_s for part in parts])
    kind = np.repeat(np.arange(len(parts)), num_requests)
    chosen = np.argsort(arrival, kind="stable")[:num_requests]
    priority = np.array([one.priority for one in classes], dtype=np.int64)
    return Trace(
        arrival_s=arrival[chosen] - arrival[chosen[0]],
        isl=np.concatenate([part.isl for part in parts])[chosen],
        osl=np.concatenate([part.osl for part in parts])[chosen],
        priority=priority[kind[chosen]] if len(set(priority.tolist())) > 1 else None,
        kind=kind[chosen],
    )


def with_rates(traffic: Traffic, rates: Rates, *, num_requests: int, seed: int = 0) -> Trace:
    """Draw requests of one traffic whose rate changes over time."""
    return _drawn(TrafficClass(traffic, rates=rates), num_requests, seed=seed)


def _drawn(one: TrafficClass, count: int, *, seed: int) -> Trace:
    drawn = Trace.from_traffic(one.traffic, seed=seed, num_requests=count)
    if one.rates is None:
        first = np.random.default_rng(seed).spawn(4)[3].exponential(1.0 / (one.traffic.qps or 1.0))
        return Trace(drawn.arrival_s + first, drawn.isl, drawn.osl)
    stream = np.random.default_rng(seed).spawn(3)[0]
    arrival = one.rates.arrivals_s(stream, count, one.traffic.burstiness)
    return Trace(arrival, drawn.isl, drawn.osl)
