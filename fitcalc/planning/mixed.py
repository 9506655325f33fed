"""Classes of traffic on shared servers, beside a pool of servers for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Plan, PlanQuestion
from fitcalc.planning.cost import within_budget
from fitcalc.planning.feature import Feature, FeatureName, Fleet, Pool, judged
from fitcalc.planning.mixed_sizes import MOST_REQUESTS, OF_EACH, Sized, engine_of, sized

_PERCENT = 100.0
_LOOSER = (1.5, 2.0, math.inf)
"""Times the tightest TTFT that shared servers are looked for. [1]"""


class Ask(Protocol):
    """Plans for one traffic and its promise."""

    def __call__(self, traffic: Traffic, slo: Slo, /) -> Plan:
        """Return the plan."""


def tightest(mix: Mix, slo: Slo) -> Slo:
    """Return the promise that keeps everybody's."""
    promises = mix.promises(slo)
    whole = [one.e2e_ms for one in promises if one.e2e_ms is not None]
    return _loosest(promises).replace(
        ttft_ms=min(one.ttft_ms for one in promises), e2e_ms=min(whole, default=None)
    )


def with_pools(shared: Plan, mix: Mix, slo: Slo, ask: Ask) -> Plan:
    """Return the plan for all classes together, compared with a plan for each class alone.

    Args:
        shared: The plan for ``mix.merged()`` within ``tightest(mix, slo)``.
        mix: The classes.
        slo: What every class is promised that has no promise of its own.
        ask: Plans for one traffic, with the limits that ``shared`` was asked with.

    Raises:
        InvalidValue: a class whose rate changes over time.
    """
    if any(one.shape is not None for one in mix.classes):
        raise InvalidValue("rates", "of a class", "give classes their qps; a plan takes the peak")
    asked, promises = shared.question, mix.promises(slo)
    pool = _shared(shared, mix, slo, ask)
    alone = [
        sized(asked, best, Mix((one,), mix.num_requests), slo) if best else None
        for one, promise in zip(mix.classes, promises, strict=True)
        for best in [ask(one.traffic, promise).best]
    ]
    feature = _compared(asked, mix, slo, pool, alone)
    if pool is not None and pool.choice is not shared.best:
        first = Pool(name="all classes", fleet=pool.fleet, vllm_command=pool.choice.vllm_command)
        feature = feature.model_copy(update={"pools": (first, *feature.pools)})
    return shared.model_copy(update={"features": (*shared.features, feature)})


def _shared(shared: Plan, mix: Mix, slo: Slo, ask: Ask) -> Sized | None:
    """Return the cheapest shared servers, of those that the closed form finds for looser TTFTs.

    Held to the tightest TTFT for all, its servers are too many, or none: long prompts that were
    promised less take longer than that by themselves.
    """
    strict, loose = tightest(mix, slo), _loosest(mix.promises(slo))
    found = None
    tried = [shared.best] if shared.best else []
    for factor in _LOOSER:
        first = min(strict.ttft_ms * factor, loose.ttft_ms)
        if first > strict.ttft_ms:
            best = ask(mix.merged(), loose.replace(ttft_ms=first)).best
            tried += [best] if best else []
    seen: list[tuple[str, EngineArgs]] = []
    for choice in tried:
        if (choice.gpu, engine_of(choice)) not in seen:
            seen.append((choice.gpu, engine_of(choice)))
            found = sized(shared.question, choice, mix, slo, found) or found
    return found


def _loosest(promises: Sequence[Slo]) -> Slo:
    """Return the loosest bounds on requests and the tightest on gaps, which all have in common."""
    whole = [one.e2e_ms for one in promises if one.e2e_ms is not None]
    return Slo(
        ttft_ms=max(one.ttft_ms for one in promises),
        itl_ms=min(one.itl_ms for one in promises),
        e2e_ms=max(whole) if len(whole) == len(promises) else None,
        percentile=max(one.percentile for one in promises),
        itl_percentile=max(one.itl_percentile or one.percentile for one in promises),
    )


def _compared(
    asked: PlanQuestion,
    mix: Mix,
    slo: Slo,
    pool: Sized | None,
    alone: Sequence[Sized | None],
) -> Feature:
    """Judge pools of their own beside the shared one."""
    promises = mix.promises(slo)
    able = [one for one in alone if one is not None]
    having = _total(able, promises) if len(able) == len(alone) else None
    kept = having if having and _allowed(having, asked) else None
    said = (pool or able[0]).choice.prediction if pool or able else None
    without = pool.fleet if pool and _allowed(pool.fleet, asked) else None
    return judged(
        FeatureName.SEPARATE_POOLS,
        kept,
        without,
        risk=said.interval.tpot_ms[1] / said.tpot_ms.mean - 1.0 if said else 0.0,
        why=_why(mix, slo, pool, alone),
        pools=tuple(
            Pool(name=name, fleet=one.fleet, vllm_command=one.choice.vllm_command)
            for name, one in zip(mix.names, alone, strict=True)
            if one is not None
        ),
    )


def _why(mix: Mix, slo: Slo, pool: Sized | None, alone: Sequence[Sized | None]) -> tuple[str, ...]:
    """Say how both were counted, which class sets the shared pool, and who is not served."""
    counted = (
        "both are the fewest servers that keep every class's promise event by event, the headroom "
        "on top; latencies are those of the class with the tightest bound"
    )
    words = [counted]
    if pool is None:
        least = tightest(mix, slo)
        words.append(
            "of shared servers none was found that keeps every class's promise, the tightest of "
            f"which are a first token in {least.ttft_ms:g} ms and gaps of {least.itl_ms:g} ms"
        )
    elif pool.fewer:
        words.append(f"of a shared pool, {pool.fewer}")
    lost = [name for name, one in zip(mix.names, alone, strict=True) if one is None]
    if lost:
        words.append(f"no server of its own keeps the promise to {', '.join(lost)}")
    rates = {name: one.traffic.qps or 0.0 for name, one in zip(mix.names, mix.classes, strict=True)}
    most = mix.num_requests or MOST_REQUESTS
    rare = [x for x, rate in rates.items() if most * rate < OF_EACH / 4 * sum(rates.values())]
    if rare:
        words.append(f"of {', '.join(rare)} so few requests come that a run says little about it")
    return tuple(words)


def _total(pools: Sequence[Sized], promises: Sequence[Slo]) -> Fleet:
    """Add pools up; latencies are those of the tightest bound."""
    bills = [one.fleet.usd_per_hour for one in pools]
    known = [money for money in bills if money is not None]
    of = range(len(pools))
    return Fleet(
        gpu=" + ".join(dict.fromkeys(one.fleet.gpu for one in pools)),
        gpu_count=sum(one.fleet.gpu_count for one in pools),
        replicas=sum(one.fleet.replicas for one in pools),
        usd_per_hour=sum(known) if len(known) == len(bills) else None,
        ttft_ms=pools[min(of, key=lambda i: promises[i].ttft_ms)].fleet.ttft_ms,
        itl_ms=pools[min(of, key=lambda i: promises[i].itl_ms)].fleet.itl_ms,
    )


def _allowed(fleet: Fleet, asked: PlanQuestion) -> bool:
    """Whether a fleet is within the limits of GPUs and money."""
    most, budget = asked.max_gpus, asked.budget_usd_per_hour
    if most is not None and fleet.gpu_count > most:
        return False
    money = fleet.usd_per_hour
    return budget is None or (money is not None and within_budget(money, budget))
