"""Whether a deployment, or what a plan may use, keeps the promise: a test for CI."""

from __future__ import annotations

from fitcalc.answers import Prediction, Rejection, Row
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.choice import Plan, RejectedChoice
from fitcalc.planning.missed import Failure, missed


class Check(Row):
    """A verdict with its numbers. Falsy when a limit was missed.

    Attributes:
        ok: Whether the promise is kept.
        subject: What was checked, in words.
        failures: The limits that were missed.
        prediction: One replica at its share of the traffic, where it runs at all.
    """

    ok: bool
    subject: str
    failures: tuple[Failure, ...]
    prediction: Prediction | None = None

    def __bool__(self) -> bool:
        """Whether the promise is kept."""
        return self.ok

    def markdown(self) -> str:
        """Return the verdict as a comment for a pull request."""
        verdict = "keeps its promise" if self.ok else "misses its promise"
        lines = [f"**fitcalc:** {self.subject} {verdict}.", ""]
        if self.failures:
            lines += ["| limit | needed | available | why |", "| --- | ---: | ---: | --- |"]
            lines += [
                f"| {f.limit.value} | {f.needed:,.4g} | {f.available:,.4g} | {f.reason} |"
                for f in self.failures
            ]
            lines += [""]
        if self.prediction is not None:
            lines += _latency(self.prediction)
        return "\n".join(lines).rstrip()


def check(asked: Scenario | Plan) -> Check:
    """Check a scenario, or a plan that was already made.

    Args:
        asked: A deployment with its traffic and promise, limits that a plan must stay within,
            or a plan.
    """
    if isinstance(asked, Plan):
        return _check_plan(asked)
    if asked.deployment is not None:
        return _check_deployment(asked, asked.deployment)
    from fitcalc.planning.planned import plan_of  # noqa: PLC0415 - a deployment needs no planner

    return _check_plan(plan_of(asked))


def _check_plan(plan: Plan) -> Check:
    asked = plan.question
    if plan.best is not None:
        best = plan.best
        subject = f"{asked.model} on {best.gpu_count} x {best.gpu}"
        return Check(ok=True, subject=subject, failures=(), prediction=best.prediction)
    lost = plan.closest
    failures = () if lost is None else (_failure(lost),)
    return Check(ok=False, subject=f"{asked.model} within the limits given", failures=failures)


def _check_deployment(asked: Scenario, deployment: Deployment) -> Check:
    from fitcalc.planning.predict import predict  # noqa: PLC0415

    share = asked.traffic.share(deployment.replicas)
    subject = f"{asked.model} on {deployment.replicas} x {asked.engine.gpus} {deployment.gpu}"
    found = predict(asked.model, deployment.gpu, asked.engine, share)
    if isinstance(found, Rejection):
        failure = _failure(found)
        return Check(ok=False, subject=subject, failures=(failure,))
    failures = missed(found, asked.slo)
    return Check(ok=not failures, subject=subject, failures=failures, prediction=found)


def _failure(no: Rejection | RejectedChoice) -> Failure:
    """Say a no as a missed limit."""
    return Failure(limit=no.limit, needed=no.needed, available=no.available, reason=no.reason)


def _latency(found: Prediction) -> list[str]:
    rows = (
        ("TTFT", found.ttft_ms),
        ("ITL", found.itl_ms),
        ("TPOT", found.tpot_ms),
        ("E2E", found.e2e_ms),
    )
    return [
        "| ms | p50 | p95 | p99 |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {name} | {p.p50:,.1f} | {p.p95:,.1f} | {p.p99:,.1f} |" for name, p in rows),
    ]
