"""The fewest servers of a configuration that keep the promise of every class, by events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fitcalc.inputs.engine import EngineArgs, SchedulingPolicy
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Choice, PlanQuestion
from fitcalc.planning.cost import Bought, bought
from fitcalc.planning.feature import Fleet
from fitcalc.planning.market import market
from fitcalc.planning.requests import DEFAULT_REQUESTS
from fitcalc.planning.simulated import simulate
from fitcalc.simulation.report import Simulation
from fitcalc.simulation.routers import Router

_PERCENT = 100.0
_MOST_MORE = 2
"""Times the closed form's servers that are tried. [1]"""
OF_EACH, MOST_REQUESTS = 400, 20_000
"""Requests of the rarest class that a run should have, and of all that it has at most. [1]"""


@dataclass(frozen=True, slots=True)
class Sized:
    """The fewest servers of a configuration that keep the promise of all they serve.

    ``fewer`` says what one server fewer did.
    """

    choice: Choice
    fleet: Fleet
    fewer: str

    @property
    def order(self) -> tuple[bool, float, int]:
        """Rank by money, types without a price last."""
        return _cost(Bought(self.fleet.usd_per_hour, self.fleet.gpu_count))


def sized(
    asked: PlanQuestion, best: Choice, mix: Mix, slo: Slo, below: Sized | None = None
) -> Sized | None:
    """Bisect for the fewest servers that cost less than others.

    ``None`` = twice the closed form's miss the promise, or as many as are cheaper.
    """
    engine = engine_of(best)
    if mix.ranked:
        engine = engine.replace(scheduling_policy=SchedulingPolicy.PRIORITY)
    grown = mix.scaled(asked.risk.factor)
    full = _long_enough(grown.scaled(1.0 / (1.0 - asked.headroom)))

    def run(servers: int, load: Mix) -> Simulation | None:
        seen = simulate(
            asked.model,
            best.gpu,
            engine,
            load,
            replicas=servers,
            slo=slo,
            router=Router.LEAST_REQUESTS,
        )
        return seen if isinstance(seen, Simulation) else None

    price = bought(best.gpu, best.engine.gpus, market(asked.buying))
    promises, low, high = mix.promises(slo), 0, _MOST_MORE * best.replicas + 1
    while high and below and _cost(price(high + asked.risk.spare)) >= below.order:
        high -= 1
    fewer = ""
    if not high or _misses(run(high, full), mix, promises):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        missed = _misses(run(middle, full), mix, promises)
        if missed:
            low, fewer = middle, missed
        else:
            high = middle
    servers = high + asked.risk.spare
    felt = run(high, _long_enough(grown))
    if felt is None:
        return None
    gpus, bill = best.engine.gpus, price(servers)
    fleet = Fleet(
        gpu=best.gpu,
        gpu_count=servers * gpus,
        replicas=servers,
        usd_per_hour=bill.usd_per_hour,
        ttft_ms=_ttft_ms(felt, mix, promises),
        itl_ms=felt.itl_ms.at(max(one.itl_percentile or one.percentile for one in promises)),
    )
    return Sized(best, fleet, fewer)


def _cost(bill: Bought) -> tuple[bool, float, int]:
    """Rank by money, types without a price last."""
    return bill.usd_per_hour is None, bill.usd_per_hour or 0.0, bill.gpus


def _misses(seen: Simulation | None, mix: Mix, promises: Sequence[Slo]) -> str:
    """Say whose promise so many servers miss; empty = nobody's."""
    if seen is None or not seen.stable:
        return "one server fewer does not keep up"
    parts = {one.name: one.slo_met or 0.0 for one in seen.classes}
    for name, promise in zip(mix.names, promises, strict=True):
        met = parts.get(name, 1.0) if parts else seen.slo_met or 0.0
        if met < promise.percentile / _PERCENT:
            share = f"{_PERCENT * met:.1f} % of {name} requests"
            return f"one server fewer keeps the promise for {share} only"
    return ""


def _ttft_ms(felt: Simulation, mix: Mix, promises: Sequence[Slo]) -> float:
    """First token of the class that is promised the soonest. [ms]"""
    name, promise = min(zip(mix.names, promises, strict=True), key=lambda one: one[1].ttft_ms)
    parts = {one.name: one.ttft_ms for one in felt.classes}
    return parts.get(name, felt.ttft_ms).at(promise.percentile)


def _long_enough(mix: Mix) -> Mix:
    """Return the mix with requests enough to judge its rarest class."""
    if mix.num_requests is not None:
        return mix
    rates = [one.traffic.qps or 0.0 for one in mix.classes]
    needed = int(OF_EACH * sum(rates) / min(rates))
    return replace(mix, num_requests=min(max(DEFAULT_REQUESTS, needed), MOST_REQUESTS))


def engine_of(choice: Choice) -> EngineArgs:
    """Return the settings of a choice as a question."""
    said = choice.engine.model_dump()
    weights = said.pop("weight_format")
    return EngineArgs(quantization=weights, **said)
