"""What would have to give so that a scenario passes: the least change of each limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from fitcalc.answers import Limit
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.pinned import Verdict, judge
from fitcalc.planning.planned import plan_of
from fitcalc.planning.relax_plan import plan_relaxations
from fitcalc.planning.relax_steps import (
    MOST,
    Passing,
    above,
    changed,
    less_traffic,
    relaxation,
)
from fitcalc.planning.relaxation import Change, Relaxation

_MOST_REPLICAS = 100_000
_LATENCIES = {Limit.TTFT: "slo.ttft_ms", Limit.ITL: "slo.itl_ms", Limit.E2E: "slo.e2e_ms"}


def relaxations(asked: Scenario) -> tuple[Relaxation, ...]:
    """Return the changes that would make a scenario pass, the least first."""
    if asked.deployment is None:
        return plan_relaxations(asked, partial(plan_of, top=1))
    return tuple(sorted(_of_deployment(asked, asked.deployment), key=Relaxation.order))


def _of_deployment(asked: Scenario, pinned: Deployment) -> Iterator[Relaxation]:
    quick = partial(_kept, method="closed_form")
    if more := _replicas(asked, pinned, quick):
        passing = _passing(more[1])
        change = Change(field="deployment.replicas", asked=pinned.replicas, needed=more[0])
        yield relaxation([change], more[0] / pinned.replicas, passing)
    if loose := _looser(asked, judge(asked, pinned)):
        yield loose
    yield from less_traffic(asked, lambda one, _: _passing(_kept(one, pinned)))


def _looser(asked: Scenario, verdict: Verdict) -> Relaxation | None:
    """Return the limits that would hold what the deployment needs, where it runs at all."""
    fields = {
        **_LATENCIES,
        Limit.BUDGET: "plan.budget_usd_per_hour",
        Limit.MAX_GPUS: "plan.max_gpus",
    }
    if verdict.served is None or any(one.limit not in fields for one in verdict.failures):
        return None
    changes, looser = [], asked
    for one in verdict.failures:
        name = fields[one.limit]
        needed = above(name, one.needed)
        changes.append(Change(field=name, asked=one.available, needed=needed))
        looser = changed(looser, name, needed)
    if asked.deployment is None or judge(looser, asked.deployment).failures:
        return None
    factor = max(one.needed / one.available for one in verdict.failures)
    return relaxation(changes, factor, _passing(verdict))


def _replicas(
    asked: Scenario, pinned: Deployment, quick: Callable[[Scenario, Deployment], Verdict | None]
) -> tuple[int, Verdict] | None:
    """Return the fewest replicas that keep promise and limits, and what they are like."""
    low = high = pinned.replicas
    most = min(int(pinned.replicas * MOST), _MOST_REPLICAS)
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


def _kept(asked: Scenario, pinned: Deployment, *, method: str = "auto") -> Verdict | None:
    found = judge(asked, pinned, method=method)
    return None if found.failures else found


def _passing(found: Verdict | None) -> Passing | None:
    if found is None or found.served is None:
        return None
    return Passing(found.served.gpu, found.served.gpu_count, found.served.usd_per_hour)
