"""What would let ``fitcalc plan`` answer, where nothing fits."""

from __future__ import annotations

from collections.abc import Callable

from fitcalc.inputs.buying import Buying
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.choice import Plan
from fitcalc.planning.relax_plan import plan_relaxations


def with_relaxations(
    answer: Plan, ask: Callable[..., Plan], limits: PlanLimits, buying: Buying
) -> Plan:
    """Return a plan that has no best with the changes that would give it one.

    Args:
        answer: The plan.
        ask: Asks the same with other traffic, promise and limits.
        limits: The limits that it was asked with.
        buying: How it was bought.
    """

    def planner(one: Scenario) -> Plan:
        own = one.plan or limits
        return ask(
            one.traffic,
            one.slo,
            gpus=own.gpus,
            exclude_gpus=own.exclude_gpus,
            quantization=own.quantization,
            max_gpus=own.max_gpus,
            budget_usd_per_hour=own.budget_usd_per_hour,
            buying=buying.replace(cloud=own.cloud) if buying.cloud else buying,
            top=1,
        )

    asked = answer.question
    scenario = Scenario(model=asked.model, traffic=asked.traffic, slo=asked.slo, plan=limits)
    return answer.model_copy(update={"relaxations": plan_relaxations(scenario, planner)})
