"""Steps of a search for the least change that passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.relaxation import Change, Relaxation

MOST = 32.0
"""No number is stretched by more. [1]"""
CLOSE = 1.03
"""Ratio at which a search for the least change ends. [1]"""
_DIGITS = 3
_CENTS = 100.0


@dataclass(frozen=True, slots=True)
class Passing:
    """What would serve a changed scenario: the best, and every GPU type that could."""

    gpu: str
    gpu_count: int
    usd_per_hour: float | None
    gpus: tuple[str, ...] = ()


Find = Callable[[Scenario, Passing | None], Passing | None]
"""Returns what serves a scenario; the second is what served a looser one, to look no wider."""


def less_traffic(asked: Scenario, find: Find) -> Iterator[Relaxation]:
    """Yield the most traffic that passes."""
    closed = asked.traffic.qps is None
    name = "traffic.concurrency" if closed else "traffic.qps"
    load = asked.traffic.load

    def at(factor: float) -> float:
        return max(1, math.floor(load / factor)) if closed else _below(load / factor)

    found = least(lambda by, near: find(changed(asked, name, at(by)), near))
    if found is not None:
        factor, passing = found
        change = Change(field=name, asked=load, needed=at(factor))
        yield relaxation([change], load / at(factor), passing)


def least(
    find: Callable[[float, Passing | None], Passing | None], most: float = MOST
) -> tuple[float, Passing] | None:
    """Return the least factor that passes, to a few percent; ``None`` where even the most fails."""
    best = find(most, None)
    if best is None:
        return None
    low, high = 1.0, most
    while high / low > CLOSE:
        middle = math.sqrt(low * high)
        found = find(middle, best)
        if found is None:
            low = middle
        else:
            high, best = middle, found
    return high, best


def relaxation(changes: Sequence[Change], factor: float | None, by: Passing | None) -> Relaxation:
    """Return a change with what would then serve."""
    return Relaxation(
        changes=tuple(changes),
        factor=factor,
        usd_per_hour=by.usd_per_hour if by else None,
        serves=f"{by.gpu_count} x {by.gpu}" if by else "",
    )


def changed(asked: Scenario, field: str, value: object) -> Scenario:
    """Return a scenario with one field changed, such as ``slo.ttft_ms``."""
    section, _, name = field.partition(".")
    part: object = getattr(asked, section)
    if part is None:
        part = PlanLimits()
    return asked.replace(**{section: part.replace(**{name: value})})  # type: ignore[attr-defined]


def above(name: str, value: float) -> float:
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
