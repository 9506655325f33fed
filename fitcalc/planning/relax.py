"""What would have to give so that a scenario passes: the least change of each limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from fitcalc.answers import Limit
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.pinned import Verdict, judge
from fitcalc.planning.planned import plan_of
from fitcalc.planning.relaxation import Change, Relaxation

_MOST = 32.0
"""No number is stretched by more. [1]"""
_CLOSE = 1.03
"""Ratio at which a search for the least change ends. [1]"""
_DIGITS = 3
_CENTS = 100.0
_MOST_REPLICAS = 100_000
_LATENCIES = {Limit.TTFT: "slo.ttft_ms", Limit.ITL: "slo.itl_ms", Limit.E2E: "slo.e2e_ms"}
_NAMES = ("plan.gpus", "plan.exclude_gpus", "plan.cloud", "plan.quantization")
"""Limits that are names; to relax one is to leave it out."""


@dataclass(frozen=True, slots=True)
class _Passing:
    """What would serve a changed scenario."""

    gpu: str
    gpu_count: int
    usd_per_hour: float | None


def relaxations(asked: Scenario) -> tuple[Relaxation, ...]:
    """Return the changes that would make a scenario pass, the least first.

    Each limit is changed alone, by as little as passes; where no limit alone is enough, all
    numbers are stretched alike.
    """
    pinned = asked.deployment
    found = list(_of_plan(asked)) if pinned is None else list(_of_deployment(asked, pinned))
    return tuple(sorted(found, key=Relaxation.order))


def _of_plan(asked: Scenario) -> Iterator[Relaxation]:
    numbers = {name: value for name, value in _numbers(asked).items() if value is not None}
    alone = [_stretched(asked, {name: value}) for name, value in numbers.items()]
    found = [one for one in alone if one is not None]
    if not found:
        together = _stretched(asked, numbers)
        found = [together] if together else []
    yield from found
    limits = asked.plan or PlanLimits()
    for name in _NAMES:
        value = getattr(limits, name.partition(".")[2])
        free = () if name == "plan.exclude_gpus" else None
        if value and (passing := _planned(_with(asked, name, free))):
            words = value if isinstance(value, str) else ", ".join(value)
            yield _relaxation([Change(field=name, asked=words, needed="any")], None, passing)
    yield from _less_traffic(asked, _planned)


def _numbers(asked: Scenario) -> dict[str, float | None]:
    """Return the limits that are numbers, by the name of their field."""
    limits, slo = asked.plan or PlanLimits(), asked.slo
    return {
        "plan.budget_usd_per_hour": limits.budget_usd_per_hour,
        "plan.max_gpus": limits.max_gpus,
        "slo.ttft_ms": slo.ttft_ms,
        "slo.itl_ms": slo.itl_ms,
        "slo.e2e_ms": slo.e2e_ms,
    }


def _stretched(asked: Scenario, numbers: dict[str, float]) -> Relaxation | None:
    """Stretch some limits by the least factor that passes."""

    def at(factor: float) -> Scenario:
        changed = asked
        for name, value in numbers.items():
            changed = _with(changed, name, _above(name, value * factor))
        return changed

    factor = _least(lambda by: _planned(at(by)) is not None)
    if factor is None or (passing := _planned(at(factor))) is None:
        return None
    if list(numbers) == ["plan.budget_usd_per_hour"] and passing.usd_per_hour:
        factor = passing.usd_per_hour / numbers["plan.budget_usd_per_hour"]
    changes = [
        Change(field=name, asked=value, needed=_above(name, value * factor))
        for name, value in numbers.items()
    ]
    return _relaxation(changes, factor, passing)


def _of_deployment(asked: Scenario, pinned: Deployment) -> Iterator[Relaxation]:
    quick = partial(_kept, method="closed_form")
    if more := _replicas(asked, pinned, quick):
        passing = _passing(more[1])
        change = Change(field="deployment.replicas", asked=pinned.replicas, needed=more[0])
        yield _relaxation([change], more[0] / pinned.replicas, passing)
    if loose := _looser(asked, judge(asked, pinned)):
        yield loose
    yield from _less_traffic(asked, lambda one: _passing(_kept(one, pinned)))


def _looser(asked: Scenario, verdict: Verdict) -> Relaxation | None:
    """Return the limits that would hold what the deployment needs, where it runs at all."""
    fields = {
        **_LATENCIES,
        Limit.BUDGET: "plan.budget_usd_per_hour",
        Limit.MAX_GPUS: "plan.max_gpus",
    }
    if verdict.served is None or any(one.limit not in fields for one in verdict.failures):
        return None
    changes, changed = [], asked
    for one in verdict.failures:
        name = fields[one.limit]
        needed = _above(name, one.needed)
        changes.append(Change(field=name, asked=one.available, needed=needed))
        changed = _with(changed, name, needed)
    if asked.deployment is None or judge(changed, asked.deployment).failures:
        return None
    factor = max(one.needed / one.available for one in verdict.failures)
    return _relaxation(changes, factor, _passing(verdict))


def _replicas(
    asked: Scenario, pinned: Deployment, quick: Callable[[Scenario, Deployment], Verdict | None]
) -> tuple[int, Verdict] | None:
    """Return the fewest replicas that keep promise and limits, and what they are like."""
    low = high = pinned.replicas
    most = min(int(pinned.replicas * _MOST), _MOST_REPLICAS)
    while quick(asked, pinned.replace(replicas=high)) is None:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        passes = quick(asked, pinned.replace(replicas=middle)) is not None
        low, high = (low, middle) if passes else (middle, high)
    for count in (max(high, pinned.replicas + 1), high + 1, math.ceil(1.1 * high), 2 * high):
        # events may ask for more than the closed form does
        if count <= _MOST_REPLICAS and (found := _kept(asked, pinned.replace(replicas=count))):
            return count, found
    return None


def _less_traffic(
    asked: Scenario, passes: Callable[[Scenario], _Passing | None]
) -> Iterator[Relaxation]:
    """Yield the most traffic that passes."""
    closed = asked.traffic.qps is None
    name = "traffic.concurrency" if closed else "traffic.qps"
    load = asked.traffic.load

    def at(factor: float) -> float:
        return max(1, math.floor(load / factor)) if closed else _below(load / factor)

    factor = _least(lambda by: passes(_with(asked, name, at(by))) is not None)
    if factor is not None and (passing := passes(_with(asked, name, at(factor)))):
        change = Change(field=name, asked=load, needed=at(factor))
        yield _relaxation([change], load / at(factor), passing)


def _least(passes: Callable[[float], bool]) -> float | None:
    """Return the least factor that passes, to a few percent; ``None`` where even the most fails."""
    if not passes(_MOST):
        return None
    low, high = 1.0, _MOST
    while high / low > _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _planned(asked: Scenario) -> _Passing | None:
    best = plan_of(asked, top=1).best
    return None if best is None else _Passing(best.gpu, best.gpu_count, best.usd_per_hour)


def _kept(asked: Scenario, pinned: Deployment, *, method: str = "auto") -> Verdict | None:
    found = judge(asked, pinned, method=method)
    return None if found.failures else found


def _passing(found: Verdict | None) -> _Passing | None:
    if found is None or found.served is None:
        return None
    return _Passing(found.served.gpu, found.served.gpu_count, found.served.usd_per_hour)


def _relaxation(changes: list[Change], factor: float | None, by: _Passing | None) -> Relaxation:
    return Relaxation(
        changes=tuple(changes),
        factor=factor,
        usd_per_hour=by.usd_per_hour if by else None,
        serves=f"{by.gpu_count} x {by.gpu}" if by else "",
    )


def _with(asked: Scenario, field: str, value: object) -> Scenario:
    """Return a scenario with one field changed, such as ``slo.ttft_ms``."""
    section, _, name = field.partition(".")
    part: object = getattr(asked, section)
    if part is None:
        part = PlanLimits()
    return asked.replace(**{section: part.replace(**{name: value})})  # type: ignore[attr-defined]


def _above(name: str, value: float) -> float:
    """Round up: to three figures, money to cents, GPUs to whole ones."""
    if name == "plan.max_gpus":
        return math.ceil(value - 1e-9)
    if name == "plan.budget_usd_per_hour":
        return math.ceil(value * _CENTS - 1e-6) / _CENTS
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - _DIGITS)
    return round(math.ceil(value / step - 1e-9) * step, 10)


def _below(value: float) -> float:
    """Round down to three figures."""
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - _DIGITS)
    return round(math.floor(value / step + 1e-9) * step, 10)
