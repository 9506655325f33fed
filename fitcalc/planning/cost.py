"""What a deployment costs an hour: whole instances, at the cheapest fitting offer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fitcalc.answers import Terms
from fitcalc.catalog.price import ANY_REGION, Offer
from fitcalc.planning.market import Market
from fitcalc.units import MEGA, SECONDS_PER_HOUR

_HALF_A_CENT = 0.005
"""What an amount in cents is rounded by. [USD]"""


def replicas_for(load: float, each: float, headroom: float) -> float:
    """Return replicas for a load when each carries so much and a share stays free. [1]

    Examples:
        >>> replicas_for(20.0, 2.5, 0.2)
        10.0
    """
    if each <= 0:
        return math.inf
    return float(max(1, math.ceil(load / (each * (1.0 - headroom)) - 1e-9)))


@dataclass(frozen=True, slots=True)
class Bill:
    """An offer and how many of it are bought.

    Attributes:
        offer: The instance.
        instances: How many. [1]
        usd_per_hour: All of them. [USD/h]
    """

    offer: Offer
    instances: int
    usd_per_hour: float

    @property
    def gpus(self) -> int:
        """GPUs that are paid for. [1]"""
        return self.instances * self.offer.gpus

    @property
    def source(self) -> str:
        """Cloud, instance, region, terms and date of the price."""
        o = self.offer
        where = "any region" if o.region == ANY_REGION else o.region
        terms = o.terms.value.replace("_", " ") + (f" {o.months} months" if o.months else "")
        if o.terms is Terms.OWNED:
            return f"{self.instances} x {o.instance}, owned, {o.region}, {o.checked}"
        return f"{self.instances} x {o.cloud} {o.instance}, {where}, {terms}, {o.checked}"


@dataclass(frozen=True, slots=True)
class Bought:
    """What so many servers cost: money an hour, where known, and GPUs paid for."""

    usd_per_hour: float | None
    gpus: int


def bill(gpu: str, gpus_a_replica: int, replicas: int, sold: Market) -> Bill | None:
    """Return the cheapest way to buy the replicas, or ``None`` where no price is known.

    Instances are bought whole. A replica sits in one instance, or takes several whole ones where
    no instance of that GPU is large enough for it.
    """
    some = sold.of(gpu)
    largest = max((offer.gpus for offer in some), default=0)
    least = math.inf, 0
    cheapest: tuple[Offer, int] | None = None
    for offer in some:
        if offer.gpus >= min(gpus_a_replica, largest):
            count = _instances(offer.gpus, gpus_a_replica, replicas)
            money = count * offer.usd_per_hour, count * offer.gpus
            if cheapest is None or money < least:
                least, cheapest = money, (offer, count)
    return None if cheapest is None else Bill(*cheapest, least[0])


def bought(gpu: str, gpus_a_replica: int, sold: Market) -> Callable[[int], Bought]:
    """Return what says what a number of replicas costs."""

    def price(replicas: int) -> Bought:
        found = bill(gpu, gpus_a_replica, replicas, sold)
        if found is None:
            return Bought(None, replicas * gpus_a_replica)
        return Bought(found.usd_per_hour, found.gpus)

    return price


def _instances(gpus: int, gpus_a_replica: int, replicas: int) -> int:
    """Instances that hold the replicas. [1]"""
    held = gpus // gpus_a_replica
    if held:
        return -(-replicas // held)
    return replicas * -(-gpus_a_replica // gpus)


def usd_per_million(usd_per_hour: float, tokens_per_s: float) -> float:
    """Money for a million tokens at a rate that runs all hour. [USD]

    Examples:
        >>> usd_per_million(36.0, 10_000.0)
        1.0
    """
    return usd_per_hour / (tokens_per_s * SECONDS_PER_HOUR) * MEGA


def bill_per_million(bill: Bill | None, tokens_per_s: float) -> float | None:
    """Money of a bill for a million tokens; ``None`` where no price is known. [USD]"""
    return None if bill is None else usd_per_million(bill.usd_per_hour, tokens_per_s)


def within_budget(usd_per_hour: float, budget: float) -> bool:
    """Whether an amount is within a budget as both are written: in cents. [USD/h]

    Examples:
        >>> within_budget(283.20000000000005, 283.2), within_budget(283.21, 283.2)
        (True, False)
    """
    return usd_per_hour <= budget + _HALF_A_CENT
