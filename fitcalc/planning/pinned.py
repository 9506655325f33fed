"""A pinned choice: whether a deployment keeps the promise, and the limits beside it."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.answers import Limit, Prediction, Rejection
from fitcalc.catalog.gpu import resolve_gpu
from fitcalc.errors import InvalidValue
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.cost import bill, within_budget
from fitcalc.planning.market import Market, market
from fitcalc.planning.missed import Failure, failure, missed
from fitcalc.planning.predict import predict
from fitcalc.planning.served import Served, served
from fitcalc.planning.stressed import load_of, stressed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a deployment: the limits it misses, and a server's users where it runs."""

    failures: tuple[Failure, ...]
    prediction: Prediction | None
    served: Served | None


def judge(asked: Scenario, pinned: Deployment, *, method: str = "auto") -> Verdict:
    """Predict a server at its share of the traffic, and count GPUs and money.

    Args:
        asked: The scenario.
        pinned: Its deployment.
        method: As in ``predict``.

    Raises:
        InvalidValue: the limits do not allow its GPU type.
    """
    limits = asked.plan or PlanLimits()
    sold = market(limits.buying)
    _allowed(pinned, limits, sold)
    gpus = asked.engine.gpus * pinned.replicas
    price = bill(_gpu_id(pinned.gpu), asked.engine.gpus, pinned.replicas, sold)
    money = None if price is None else price.usd_per_hour
    spent = _spent(gpus, money, limits)
    load = load_of(asked)
    share = load.today.share(pinned.replicas)
    found = predict(asked.model, pinned.gpu, asked.engine, share, method=method)
    if isinstance(found, Rejection):
        return Verdict((failure(found), *spent), None, None)
    what = served(
        found,
        asked.slo,
        gpu=_gpu_id(pinned.gpu),
        gpu_count=gpus,
        replicas=pinned.replicas,
        usd_per_hour=money,
        settings=asked.engine.model_dump(mode="json", exclude_defaults=True),
    )
    failures = (*missed(found, asked.slo), *spent)
    if not failures:
        failures = stressed(asked, pinned, load, found.calibrated, method)
    return Verdict(failures, found, what)


def _spent(gpus: int, money: float | None, limits: PlanLimits) -> tuple[Failure, ...]:
    """Return the limits of GPUs and money that are passed."""
    out = []
    if limits.max_gpus is not None and gpus > limits.max_gpus:
        why = f"the deployment has {gpus} GPUs; at most {limits.max_gpus} are allowed"
        row = Failure(limit=Limit.MAX_GPUS, needed=gpus, available=limits.max_gpus, reason=why)
        out.append(row)
    budget = limits.budget_usd_per_hour
    if budget is not None and money is None:
        why = "no price is known, so the budget cannot be checked"
        out.append(Failure(limit=Limit.PRICE, needed=0.0, available=budget, reason=why))
    elif budget is not None and money is not None and not within_budget(money, budget):
        why = f"the deployment costs {money:,.2f} USD/h; at most {budget:,.2f} are allowed"
        out.append(Failure(limit=Limit.BUDGET, needed=money, available=budget, reason=why))
    return tuple(out)


def _allowed(pinned: Deployment, limits: PlanLimits, sold: Market) -> None:
    """Refuse a deployment on a GPU type that the plan may not use, or that is not sold so."""
    gpu = _gpu_id(pinned.gpu)
    if limits.gpus is not None and gpu not in {resolve_gpu(name) for name in limits.gpus}:
        fix = f"[plan] allows only {', '.join(limits.gpus)}"
        raise InvalidValue("deployment.gpu", pinned.gpu, fix)
    if gpu in {resolve_gpu(name) for name in limits.exclude_gpus}:
        raise InvalidValue("deployment.gpu", pinned.gpu, "[plan] excludes it")
    if limits.buying.narrows and not sold.of(gpu.partition(":")[0]):
        known = ", ".join(sorted(sold.by_gpu))
        fix = f"it is not on sale at these terms, cloud and region; on sale are {known}"
        raise InvalidValue("deployment.gpu", pinned.gpu, fix)


def _gpu_id(gpu: str) -> str:
    """Return the table id; a slice of a card keeps its name."""
    return gpu if ":" in gpu else resolve_gpu(gpu)
