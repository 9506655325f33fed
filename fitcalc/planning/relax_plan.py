"""What would have to give so that some plan passes: the least change of each limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.choice import Plan
from fitcalc.planning.relax_steps import (
    CLOSE,
    MOST,
    Passing,
    above,
    changed,
    least,
    less_traffic,
    relaxation,
)
from fitcalc.planning.relaxation import Change, Relaxation

Planner = Callable[[Scenario], Plan]
"""Plans within the limits of a scenario."""
_DEALS = (1.1, 1.25, 1.5, 2.0)
"""What a limit is stretched beyond the least, to see whether that is much cheaper. [1]"""
_BARGAIN = 0.5
"""Share of the money at which a larger change is worth a line of its own. [1]"""
_BUDGET = "plan.budget_usd_per_hour"
_NAMES = ("plan.gpus", "plan.exclude_gpus", "plan.cloud", "plan.quantization")
"""Limits that are names; to relax one is to leave it out."""


def plan_relaxations(asked: Scenario, planner: Planner) -> tuple[Relaxation, ...]:
    """Return the changes that would let some plan pass, the least first.

    Each limit is changed alone, by as little as passes, and once more where a little further is
    much cheaper. Where no number alone is enough, those that must give are stretched together,
    each by no more than it must.

    Args:
        asked: A question that no plan answers.
        planner: What makes plans.
    """
    search = _Search(asked, planner, _numbers(asked))
    return tuple(sorted(_found(search), key=Relaxation.order))


@dataclass(frozen=True, slots=True)
class _Search:
    """A question that no plan answers, and the numbers in it that may give."""

    asked: Scenario
    planner: Planner
    numbers: Mapping[str, float]

    def find(self, one: Scenario, near: Passing | None) -> Passing | None:
        """Return what serves, among the GPU types that serve a looser question."""
        among = one if near is None else changed(one, "plan.gpus", near.gpus)
        made = self.planner(among)
        if made.best is None:
            return None
        gpus = dict.fromkeys((made.best.gpu, *(one.gpu for one in made.alternatives)))
        best = made.best
        return Passing(best.gpu, best.gpu_count, best.usd_per_hour, tuple(gpus))

    def at(self, factors: Mapping[str, float], near: Passing | None) -> Passing | None:
        """Return what serves with some numbers stretched."""
        one = self.asked
        for name, factor in factors.items():
            one = changed(one, name, above(name, self.numbers[name] * factor))
        return self.find(one, near)

    def least(self, names: list[str]) -> tuple[dict[str, float], Passing] | None:
        """Stretch some limits alike, by the least factor that passes."""
        found = least(lambda by, near: self.at(dict.fromkeys(names, by), near))
        return None if found is None else (dict.fromkeys(names, found[0]), found[1])


def _found(search: _Search) -> Iterator[Relaxation]:
    some = [found for name in search.numbers for found in _alone(search, name)]
    for factors, passing in some or _together(search):
        yield _said(search.numbers, factors, passing)
    asked = search.asked
    limits = asked.plan or PlanLimits()
    for name in _NAMES:
        value = getattr(limits, name.partition(".")[2])
        free = () if name == "plan.exclude_gpus" else None
        if value and (freed := search.find(changed(asked, name, free), None)):
            words = value if isinstance(value, str) else ", ".join(value)
            yield relaxation([Change(field=name, asked=words, needed="any")], None, freed)
    yield from less_traffic(asked, search.find)


def _alone(search: _Search, name: str) -> Iterator[tuple[dict[str, float], Passing]]:
    """Stretch one limit by the least that passes, and to a bargain where there is one."""
    if name == _BUDGET:
        yield from _least_money(search)
        return
    least_of = search.least([name])
    if least_of is None:
        return
    yield least_of
    (factor,), passing = least_of[0].values(), least_of[1]
    if not passing.usd_per_hour:
        return
    best: tuple[float, float, Passing] | None = None
    for further in _DEALS:
        found = search.at({name: factor * further}, None)
        if found is None or found.usd_per_hour is None:
            continue
        if best is None or further * found.usd_per_hour < best[0]:
            best = further * found.usd_per_hour, factor * further, found
    if best is not None and (best[2].usd_per_hour or 0.0) <= _BARGAIN * passing.usd_per_hour:
        yield {name: best[1]}, best[2]


def _least_money(search: _Search) -> Iterator[tuple[dict[str, float], Passing]]:
    """Ask for less money than the last plan costs, until none is cheaper.

    Formats of 4 bits are tried only where no other serves, so the first may not be the cheapest.
    """
    last: tuple[dict[str, float], Passing] | None = None
    factor = MOST
    while found := search.at({_BUDGET: factor}, None):
        if not found.usd_per_hour:
            break
        factor = found.usd_per_hour / search.numbers[_BUDGET]
        last = {_BUDGET: factor}, found
        factor /= CLOSE
    if last is not None:
        yield last


def _together(search: _Search) -> Iterator[tuple[dict[str, float], Passing]]:
    """Stretch several limits: only those that must give, and each by no more than it must."""
    names = list(search.numbers)
    if not search.at(dict.fromkeys(names, MOST), None):
        return
    for name in list(names):
        rest = [one for one in names if one != name]
        if rest and search.at(dict.fromkeys(rest, MOST), None):
            names = rest
    found = search.least(names)
    if found is None:
        return
    factors, passing = found
    for name in names:

        def one(by: float, near: Passing | None, name: str = name) -> Passing | None:
            return search.at({**factors, name: by}, near)

        if (tight := least(one, factors[name])) is not None:
            factors[name], passing = tight
    yield factors, passing


def _numbers(asked: Scenario) -> dict[str, float]:
    """Return the limits that are numbers, by the name of their field."""
    limits, slo = asked.plan or PlanLimits(), asked.slo
    cells = {
        "plan.budget_usd_per_hour": limits.budget_usd_per_hour,
        "plan.max_gpus": limits.max_gpus,
        "slo.ttft_ms": slo.ttft_ms,
        "slo.itl_ms": slo.itl_ms,
        "slo.e2e_ms": slo.e2e_ms,
    }
    return {name: value for name, value in cells.items() if value is not None}


def _said(numbers: Mapping[str, float], factors: Mapping[str, float], by: Passing) -> Relaxation:
    """Say a change."""
    changes = [
        Change(field=name, asked=numbers[name], needed=above(name, numbers[name] * factor))
        for name, factor in factors.items()
    ]
    return relaxation(changes, max(factors.values()), by)
