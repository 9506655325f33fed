"""Several classes of traffic that come together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import InvalidValue
from fitcalc.inputs.ramp import RampUp
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """One class of requests.

    Attributes:
        traffic: Its rate and its lengths, an open loop.
        priority: vLLM's priority of its requests, lower runs first.
        shape: Its rate over time or over its requests; ``None`` = the traffic's own, always.
        name: What the report calls it; empty = its number.
    """

    traffic: Traffic
    priority: int = 0
    shape: Rates | RampUp | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Mix:
    """Classes of requests that come together, each at its own rate, such as chat beside batch.

    Attributes:
        classes: The classes, open loops all.
        num_requests: Requests of all classes; ``None`` = left open. [1]
    """

    classes: tuple[TrafficClass, ...]
    num_requests: int | None = None

    def __post_init__(self) -> None:
        """Check the classes against each other.

        Raises:
            InvalidValue: no class, a closed loop, a prefix of its own, or a name said twice.
        """
        if not self.classes:
            raise InvalidValue("classes", "none", "give at least one class of traffic")
        if any(one.traffic.qps is None for one in self.classes):
            fix = "give each class its qps; clients in a loop do not mix"
            raise InvalidValue("classes", "concurrency", fix)
        if self.traffic is None and any(one.traffic.hit_share for one in self.classes):
            fix = "leave it out; several classes share no known prefix"
            raise InvalidValue("classes", "prefix_hit", fix)
        if len(set(self.names)) < len(self.classes):
            raise InvalidValue("classes", ", ".join(self.names), "give each class its own name")

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called."""
        return tuple(one.name or str(number) for number, one in enumerate(self.classes))

    @property
    def traffic(self) -> Traffic | None:
        """The only class's traffic; ``None`` of several."""
        return self.classes[0].traffic if len(self.classes) == 1 else None

    def draw(self, num_requests: int, *, seed: int = 0) -> Trace:
        """Draw the first requests of all classes.

        Each class draws from streams of its own, so that another one changes none of its requests.

        Args:
            num_requests: Requests of all classes. [1]
            seed: Equal seeds draw equal requests.

        Raises:
            InvalidValue: no request.
        """
        if num_requests < 1:
            raise InvalidValue("num_requests", num_requests, "give a number of requests above 0")
        parts = [
            _drawn(one, num_requests, seed=seed + 1_000_003 * number)
            for number, one in enumerate(self.classes)
        ]
        arrival = np.concatenate([part.arrival_s for part in parts])
        kind = np.repeat(np.arange(len(parts)), num_requests)
        chosen = np.argsort(arrival, kind="stable")[:num_requests]
        priority = np.array([one.priority for one in self.classes], dtype=np.int64)
        return Trace(
            arrival_s=arrival[chosen] - arrival[chosen[0]],
            isl=np.concatenate([part.isl for part in parts])[chosen],
            osl=np.concatenate([part.osl for part in parts])[chosen],
            priority=priority[kind[chosen]] if len(set(priority.tolist())) > 1 else None,
            kind=kind[chosen] if len(parts) > 1 else None,
            kind_names=self.names if len(parts) > 1 else (),
            hash_ids=_hashes(parts[0], chosen) if len(parts) == 1 else None,
            hash_block_tokens=parts[0].hash_block_tokens,
        )


def _hashes(drawn: Trace, chosen: NDArray[np.intp]) -> tuple[tuple[int, ...], ...] | None:
    own = drawn.hash_ids
    return None if own is None else tuple(own[i] for i in chosen)


def _drawn(one: TrafficClass, count: int, *, seed: int) -> Trace:
    drawn = Trace.from_traffic(one.traffic, seed=seed, num_requests=count)
    if one.shape is None:
        first = np.random.default_rng(seed).spawn(4)[3].exponential(1.0 / (one.traffic.qps or 1.0))
        return replace(drawn, arrival_s=drawn.arrival_s + first)
    stream = np.random.default_rng(seed).spawn(3)[0]
    arrival = one.shape.arrivals_s(stream, count, one.traffic.burstiness)
    return replace(drawn, arrival_s=arrival)
