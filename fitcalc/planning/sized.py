"""The servers that a configuration takes once a feature has changed what they do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Limit
from fitcalc.planning.cost import bought, replicas_for
from fitcalc.planning.feature import Fleet
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.ranking import Limits
from fitcalc.planning.search import Search
from fitcalc.queueing.goodput import goodput, most_clients
from fitcalc.queueing.predict import felt_at
from fitcalc.queueing.profile import Profile

_MOST_CLIENTS = 4096.0


@dataclass(frozen=True, slots=True)
class Sized:
    """A finalist's servers, with a feature or without."""

    one: Finalist
    fleet: Fleet
    batch: float

    @property
    def order(self) -> tuple[bool, float, int]:
        """Rank by money, types without a price last."""
        money = self.fleet.usd_per_hour
        return money is None, money or 0.0, self.fleet.gpu_count


def sized(
    search: Search,
    one: Finalist,
    server: Profile | None,
    limits: Limits,
    most: float = math.inf,
) -> Sized | None:
    """Return the servers that a configuration takes; ``None`` = it cannot keep the promise.

    Args:
        search: The question.
        one: The configuration.
        server: Its profile; ``None`` = it does not start.
        limits: What bounds the plan.
        most: Load that a server carries at most, whatever the promise allows.
    """
    if server is None:
        return None
    slo, burstiness = search.slo, search.traffic.burstiness
    each = (
        most_clients(server, slo, np.array([_MOST_CLIENTS]))
        if search.closed
        else goodput(server, slo, burstiness)
    )
    if min(each[0], most) <= 0:
        return None
    needed = replicas_for(search.traffic.load, min(float(each[0]), most), limits.headroom)
    replicas = search.spare + int(needed)
    gpus = one.priced.found.entry.gpus
    bill = bought(one.choice.gpu, gpus, limits.sold)(replicas)
    money, allowed = limits.budget_usd_per_hour, limits.max_gpus
    if allowed is not None and replicas * gpus > allowed:
        return None
    if money is not None and (bill.usd_per_hour is None or bill.usd_per_hour > money):
        return None
    load = np.array([search.share(replicas).load])
    felt = felt_at(server, load, search.traffic, closed=search.closed)[0]
    fleet = Fleet(
        gpu=one.choice.gpu,
        gpu_count=replicas * gpus,
        replicas=replicas,
        usd_per_hour=bill.usd_per_hour,
        ttft_ms=felt.ttft.at(slo.at(Limit.TTFT)),
        itl_ms=felt.itl.at(slo.at(Limit.ITL)),
    )
    return Sized(one, fleet, felt.steady_batch)
