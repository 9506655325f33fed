"""Several classes of traffic that come together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.ramp import RampUp
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic

_POINTS = 100
"""Lengths that stand for a class's law in a merged one. [1]"""


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """One class of requests.

    Attributes:
        traffic: Its rate and its lengths, an open loop.
        priority: vLLM's priority of its requests, lower runs first.
        shape: Its rate over time or over its requests; ``None`` = the traffic's own, always.
        name: What the report calls it; empty = its number.
        promise: The bounds that are its own; ``None`` = those of everybody.
    """

    traffic: Traffic
    priority: int = 0
    shape: Rates | RampUp | None = None
    name: str = ""
    promise: Slo | None = None

    def promised(self, slo: Slo) -> Slo:
        """Return everybody's promise with the bounds of its own in their place."""
        if self.promise is None:
            return slo
        own = self.promise
        return slo.replace(**{name: getattr(own, name) for name in own.model_fields_set})


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

    @property
    def ranked(self) -> bool:
        """Whether some classes go before others."""
        return len({one.priority for one in self.classes}) > 1

    def promises(self, slo: Slo | None) -> tuple[Slo, ...]:
        """Return what each class is promised; empty where nobody is promised anything."""
        if slo is None and all(one.promise is None for one in self.classes):
            return ()
        return tuple(one.promised(slo or Slo()) for one in self.classes)

    def scaled(self, factor: float) -> Mix:
        """Return the mix with all rates so many times as high."""
        return replace(
            self,
            classes=tuple(
                replace(one, traffic=one.traffic.replace(qps=(one.traffic.qps or 0.0) * factor))
                for one in self.classes
            ),
        )

    def merged(self) -> Traffic:
        """Return one traffic with the rates' sum, the lengths weighed by the rates.

        A prompt's length then says nothing about its answer's, which in a mix it does.
        """
        if self.traffic is not None:
            return self.traffic
        rates = [one.traffic.qps or 0.0 for one in self.classes]
        return Traffic(
            qps=sum(rates),
            isl=_together([one.traffic.isl for one in self.classes], rates),
            osl=_together([one.traffic.osl for one in self.classes], rates),
            burstiness=min(one.traffic.burstiness for one in self.classes),
        )

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
            priority=priority[kind[chosen]] if self.ranked else None,
            kind=kind[chosen] if len(parts) > 1 else None,
            kind_names=self.names if len(parts) > 1 else (),
            hash_ids=_hashes(parts[0], chosen) if len(parts) == 1 else None,
            hash_block_tokens=parts[0].hash_block_tokens,
        )


def _together(lengths: Sequence[Lengths], rates: Sequence[float]) -> Lengths:
    """Return the lengths of all classes as one law, each class by its rate."""
    values: list[float] = []
    weights: list[float] = []
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    for law, rate in zip(lengths, rates, strict=True):
        points = [law.mean] if law.kind == "fixed" else law.quantiles(shares).tolist()
        values += points
        weights += [rate / len(points)] * len(points)
    return Lengths.histogram(tuple(values), tuple(weights))


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
