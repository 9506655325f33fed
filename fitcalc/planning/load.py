"""The load that a plan is made for: the peak of the day, at the horizon of its growth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fitcalc.errors import InvalidValue
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.traffic import Traffic

DEFAULT_HEADROOM = 0.2
"""Share of the load a replica could carry that a plan leaves free, unless told otherwise. [1]"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is planned for.

    Attributes:
        today: The traffic at today's peak.
        planned: The same at the horizon.
        rates: The profile at the horizon; ``None`` = a steady rate.
        headroom: Share of what a server carries that stays free. [1]
    """

    today: Traffic
    planned: Traffic
    rates: Rates | None
    headroom: float

    def bought_as(self, buying: Buying) -> Buying:
        """Return how it is bought, the profile's mean over its peak known.

        Raises:
            InvalidValue: that share was also given, and is another.
        """
        if self.rates is None:
            return buying
        if "mean_share" in buying.model_fields_set:
            raise InvalidValue("mean_share", buying.mean_share, "leave it out: the rates have one")
        return buying.replace(mean_share=1.0 / self.rates.peak_to_mean)


def planned_load(
    traffic: Traffic, rates: Rates | str | Path | None, risk: Risk, headroom: float | None
) -> Load:
    """Return what is planned for.

    Args:
        traffic: As asked; its rate is the mean of the profile.
        rates: A profile, the name of a shape, or a CSV; its mean becomes the traffic's.
        risk: Growth, and whether the busiest minute sets the headroom.
        headroom: As asked.

    Raises:
        InvalidValue: questions that contradict each other.
    """
    today, profile = traffic, None
    if rates is not None:
        if traffic.qps is None:
            raise InvalidValue("rates", rates, "give qps, their mean, instead of concurrency")
        shape = rates if isinstance(rates, Rates) else Rates.named(rates)
        profile = shape.scaled(traffic.qps * risk.factor)
        today = traffic.replace(qps=traffic.qps * shape.peak_to_mean)
    planned = risk.grown(today)
    free = DEFAULT_HEADROOM if headroom is None else headroom
    if risk.peak_minute:
        if headroom is not None:
            raise InvalidValue("peak_minute", "yes", "give either headroom or peak_minute")
        if planned.qps is None:
            raise InvalidValue("peak_minute", "yes", "clients in a loop have no minutes; give qps")
        from fitcalc.planning.margins import peak_headroom  # noqa: PLC0415 - only where asked

        free = peak_headroom(planned)
    return Load(today, planned, profile, free)
