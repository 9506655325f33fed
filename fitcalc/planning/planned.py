"""The plan that a scenario's limits ask for."""

from __future__ import annotations

from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.choice import Plan
from fitcalc.planning.plan import plan


def plan_of(asked: Scenario, top: int = 5) -> Plan:
    """Plan within the limits of a scenario; ``top`` as in ``plan``."""
    limits = asked.plan or PlanLimits()
    return plan(
        asked.model,
        asked.traffic,
        asked.slo,
        gpus=limits.gpus,
        exclude_gpus=limits.exclude_gpus,
        quantization=limits.quantization,
        max_gpus=limits.max_gpus,
        budget_usd_per_hour=limits.budget_usd_per_hour,
        buying=limits.buying,
        min_quality=limits.min_quality,
        headroom=limits.headroom,
        engine=asked.engine,
        risk=limits.risk,
        rates=limits.rates,
        scaling=limits.scaling,
        top=top,
    )
