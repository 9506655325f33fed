"""A pinned deployment at its worst: the headroom used, the load grown, servers lost or slow."""

from __future__ import annotations

import math

from fitcalc.answers import Calibrated, Limit, Rejection
from fitcalc.catalog.accuracy import slow_factor
from fitcalc.catalog.model import load_model
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.load import Load, planned_load
from fitcalc.planning.missed import Failure, failure, missed
from fitcalc.planning.predict import predict
from fitcalc.planning.slow_end import deviations


def load_of(asked: Scenario) -> Load:
    """Return today's peak and what must be survived; nobody's headroom is none."""
    limits = asked.plan or PlanLimits()
    free = limits.headroom
    if free is None and not limits.peak_minute:
        free = 0.0
    return planned_load(asked.traffic, limits.rates, limits.risk, free)


def stressed(
    asked: Scenario, pinned: Deployment, load: Load, calibrated: Calibrated, method: str
) -> tuple[Failure, ...]:
    """Return what a deployment misses once all that it must survive has come.

    Args:
        asked: The scenario.
        pinned: Its deployment.
        load: What is planned for.
        calibrated: Where the prediction's numbers come from.
        method: As in ``predict``.
    """
    risk = (asked.plan or PlanLimits()).risk
    words = _words(asked, load)
    if not words:
        return ()
    left = pinned.replicas - risk.spare
    if left < 1:
        why = f"{risk.spare} servers may be lost, and there are {pinned.replicas}"
        need = Failure(
            limit=Limit.SATURATION, needed=risk.spare + 1, available=pinned.replicas, reason=why
        )
        return (need,)
    slower = _slower(asked.model, calibrated, risk.confidence)
    share = _full(load, slower[Limit.ITL]).share(left)
    found = predict(asked.model, pinned.gpu, asked.engine, share, method=method)
    if isinstance(found, Rejection):
        some: tuple[Failure, ...] = (failure(found),)
    else:
        some = missed(found, asked.slo, slower)
    return tuple(one.model_copy(update={"reason": f"{one.reason} once {words}"}) for one in some)


def _slower(model: str, kind: Calibrated, confidence: float | None) -> dict[Limit, float]:
    """By how much each latency of a server at the slow end is longer than predicted. [1]"""
    if confidence is None:
        return dict.fromkeys((Limit.TTFT, Limit.ITL, Limit.E2E), 1.0)
    moe, level = load_model(model).is_moe, deviations(confidence)
    ttft, itl = (
        slow_factor(metric, kind, is_moe=moe, deviations=level) for metric in ("ttft", "tpot")
    )
    return {Limit.TTFT: ttft, Limit.ITL: itl, Limit.E2E: max(ttft, itl)}


def _full(load: Load, slower: float) -> Traffic:
    """Return the load with the headroom used; to a slow server it comes faster."""
    used = load.planned.load / (1.0 - load.headroom)
    if load.planned.qps is None:
        return load.planned.replace(concurrency=math.ceil(used - 1e-9))
    return load.planned.replace(qps=used * slower)


def _words(asked: Scenario, load: Load) -> str:
    """Say what has come."""
    limits = asked.plan or PlanLimits()
    risk = limits.risk
    unit = "clients" if load.planned.qps is None else "requests/s"
    parts = []
    if load.headroom:
        parts.append(f"the headroom of {load.headroom:.0%} is used")
    if risk.factor > 1.0:
        parts.append(f"{load.today.load:,.4g} {unit} have grown to {load.planned.load:,.4g}")
    if risk.spare:
        parts.append(f"{risk.spare} of the servers {'is' if risk.spare == 1 else 'are'} lost")
    if risk.confidence is not None:
        parts.append(f"servers are as slow as a confidence of {risk.confidence:.0%} counts with")
    return ", ".join(parts)
