"""Whether a deployment, or what a plan may use, keeps the promise: a test for CI."""

from __future__ import annotations

from fitcalc.answers import Prediction, Row
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.choice import Plan, RejectedChoice
from fitcalc.planning.losers import nearest
from fitcalc.planning.missed import Failure
from fitcalc.planning.relaxation import Relaxation
from fitcalc.planning.served import Served, of_choice

_NEAREST = 3
"""Misses that are shown where nothing serves. [1]"""


class Check(Row):
    """A verdict with its numbers. Falsy when a limit was missed.

    Attributes:
        ok: Whether the promise is kept.
        subject: What was checked, in words.
        failures: The limits that were missed.
        prediction: One replica at its share of the traffic, where it runs at all.
        served: What serves, or misses the promise; ``None`` where nothing runs.
        misses: Where nothing serves: the configurations that came nearest.
        relaxations: What would make it pass, the least change first; asked for by ``relax``.
        name, line: Of the scenario in its file.
    """

    ok: bool
    subject: str
    failures: tuple[Failure, ...]
    prediction: Prediction | None = None
    served: Served | None = None
    misses: tuple[RejectedChoice, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    name: str = ""
    line: int | None = None

    def __bool__(self) -> bool:
        """Whether the promise is kept."""
        return self.ok

    def markdown(self) -> str:
        """Return the verdict as a comment for a pull request."""
        from fitcalc.planning.check_text import markdown  # noqa: PLC0415 - reads this module

        return markdown(self)


def check(asked: Scenario | Plan, *, relax: bool = False, name: str = "") -> Check:
    """Check a scenario, or a plan that was already made.

    Args:
        asked: A deployment with its traffic and promise, limits that a plan must stay within,
            both, or a plan.
        relax: Look for the least change that would pass, where a scenario does not.
        name: What the file calls the scenario.
    """
    if isinstance(asked, Plan):
        return _check_plan(asked, name)
    if asked.deployment is not None:
        found = _check_deployment(asked, asked.deployment, name)
    else:
        from fitcalc.planning.planned import plan_of  # noqa: PLC0415 - a deployment needs none

        found = _check_plan(plan_of(asked), name)
    if found.ok or not relax:
        return found
    from fitcalc.planning.relax import relaxations  # noqa: PLC0415 - only where something broke

    return found.model_copy(update={"relaxations": relaxations(asked)})


def _check_plan(plan: Plan, name: str) -> Check:
    asked = plan.question
    if plan.best is not None:
        best = plan.best
        return Check(
            ok=True,
            subject=f"{asked.model} on {best.gpu_count} x {best.gpu}",
            failures=(),
            prediction=best.prediction,
            served=of_choice(best, asked.slo),
            name=name,
        )
    lost = plan.closest
    failures = () if lost is None else (_of_lost(lost),)
    return Check(
        ok=False,
        subject=f"{asked.model} within the limits given",
        failures=failures,
        misses=nearest(plan.rejections, _NEAREST),
        name=name,
    )


def _check_deployment(asked: Scenario, deployment: Deployment, name: str) -> Check:
    from fitcalc.planning.pinned import judge  # noqa: PLC0415

    found = judge(asked, deployment)
    return Check(
        ok=not found.failures,
        subject=f"{asked.model} on {deployment.replicas} x {asked.engine.gpus} {deployment.gpu}",
        failures=found.failures,
        prediction=found.prediction,
        served=found.served,
        name=name,
    )


def _of_lost(no: RejectedChoice) -> Failure:
    """Say the closest loser as a missed limit."""
    where = f"{no.gpu} TP{no.tensor_parallel_size} {no.weight_format}"
    reason = f"the nearest, {where}: {no.reason}"
    return Failure(limit=no.limit, needed=no.needed, available=no.available, reason=reason)
