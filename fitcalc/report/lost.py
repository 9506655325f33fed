"""What lost, grouped by the limit it missed."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.answers import Limit
from fitcalc.planning.choice import Plan, RejectedChoice


@dataclass(frozen=True, slots=True)
class Lost:
    """Configurations that missed one limit: how many, on how many GPU types, and the closest."""

    limit: Limit
    cases: int
    gpus: int
    closest: RejectedChoice


def lost_groups(plan: Plan) -> tuple[Lost, ...]:
    """Group a plan's rejections by limit, the most frequent first."""
    by_limit: dict[Limit, list[RejectedChoice]] = {}
    for rejection in plan.rejections:
        by_limit.setdefault(rejection.limit, []).append(rejection)
    groups = (
        Lost(limit, len(cases), len({c.gpu for c in cases}), min(cases, key=_miss))
        for limit, cases in by_limit.items()
    )
    return tuple(sorted(groups, key=lambda group: -group.cases))


def case_words(case: RejectedChoice) -> str:
    """Name a configuration that lost."""
    stages = f" PP{case.pipeline_parallel_size}" if case.pipeline_parallel_size > 1 else ""
    return f"{case.gpu} TP{case.tensor_parallel_size}{stages} {case.weight_format}"


def _miss(case: RejectedChoice) -> float:
    """Return how many times over the limit a case is. [1]"""
    low, high = sorted((abs(case.needed), abs(case.available)))
    return high / low if low > 0 else float("inf")
