"""From a question to a plan: the cheapest deployment that keeps the promise, and who lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.model import load_model
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.scaling import Scaling
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.speculation import Speculation
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.asked import (
    cards_to_try,
    check_adapters,
    check_limits,
    check_share,
    with_length,
)
from fitcalc.planning.candidates import Scope
from fitcalc.planning.choice import Choice, Plan, PlanQuestion, RejectedChoice
from fitcalc.planning.feature import Feature
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.hosted import hosted
from fitcalc.planning.kept import tried as tried_of
from fitcalc.planning.load import planned_load
from fitcalc.planning.losers import closest, merged
from fitcalc.planning.market import market
from fitcalc.planning.quality import formats_to_try, kvs_to_try
from fitcalc.planning.ranking import Limits, ranked
from fitcalc.planning.search import Search
from fitcalc.planning.setup import ModelName
from fitcalc.planning.survive import with_reasons


def plan(
    model: ModelName,
    traffic: Traffic,
    slo: Slo | None = None,
    *,
    gpus: Sequence[str] | None = None,
    exclude_gpus: Sequence[str] = (),
    quantization: Sequence[str] | None = None,
    max_gpus: int | None = None,
    budget_usd_per_hour: float | None = None,
    buying: Buying | None = None,
    min_quality: float | None = None,
    headroom: float | None = None,
    engine: EngineArgs | None = None,
    top: int = 5,
    verify: Verify | bool = False,
    risk: Risk | None = None,
    rates: Rates | str | Path | None = None,
    scaling: Scaling | None = None,
    pareto: bool = False,
    sensitivity: float | None = None,
    speculation: Speculation | None = None,
    disaggregated: bool = False,
    num_adapters: int | None = None,
    kv_offload_bytes: float | None = None,
) -> Plan:
    """Find the GPUs and vLLM settings that serve a traffic within a promise for the least money.

    Every GPU of the tables is tried with every layout, weight format, KV format and batch limit
    that starts on it; a replica's load is the closed form's goodput less the headroom, never its
    saturated rate.

    Args:
        model: Alias, table id, Hugging Face id, path to a config.json or its folder, or a config.
        traffic: The whole load, over all replicas.
        slo: The promise; ``None`` = ``Slo()``.
        gpus: GPU types to try; ``None`` = all.
        exclude_gpus: GPU types not to try.
        quantization: Weight formats to try; ``None`` = the checkpoint's own, and where that is in
            16 bits also fp8, which vLLM makes of it while loading. Formats of 4 bits take another
            checkpoint and can cost quality: they are tried where nothing else serves.
        max_gpus: Most GPUs in all. [1]
        budget_usd_per_hour: Most money. [USD/h]
        buying: Terms, cloud, region, own prices, and how busy the day is; all but the default
            plan only with GPU types that are on sale so. ``None`` = on demand anywhere.
        min_quality: Least share of its quality that a format is known to keep, of the weights and
            of the KV cache apart; with it, formats of 4 bits that keep it are tried too. [1]
        headroom: Share of the load within the promise that stays free, 0 to 0.9. [1]
        engine: Settings that every candidate keeps: utilization, version, KV dtype, length, ...
        top: Further configurations of the winning GPU type to keep beside the best of every type.
        verify: Confirm the best by simulation, and the ``top`` runners-up; a choice that misses in
            events is given more servers, or lost. ``Verify.CHEAP``: the best alone, where that
            takes under 200 ms.
        risk: Growth, lost servers and slow predictions that the promise must survive.
        rates: Rates of a day or a week (``Rates``, ``"day"``, ``"week"``, a CSV) with the
            traffic's rate as their mean: the plan is for their peak, ``day`` says what scaling by
            the hour costs.
        scaling: Limits of the autoscaler.
        pareto: Also evaluate every candidate, for those that none beats in money, first token,
            gap and GPUs at once.
        sensitivity: Also say what so much less and more of each part of the question does to the
            choice, such as 0.2. [1]
        speculation: Also cost speculative decoding on the configurations that are kept.
        disaggregated: Also size pools of prefill and of decode servers, event by event.
        num_adapters: LoRA adapters, each asked as often as any other: also cost a merged model
            for each, beside an ``engine`` with slots for adapters. [1]
        kv_offload_bytes: Also cost so much host memory for each GPU behind its KV cache. [B]

    Returns:
        A plan; falsy, with ``closest``, where nothing serves.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    promise, settings, buys = slo or Slo(), engine or EngineArgs(), buying or Buying()
    llm = load_model(model)
    check_limits(max_gpus, budget_usd_per_hour, headroom, min_quality, top)
    check_share(sensitivity)
    check_adapters(num_adapters, settings)
    risks = risk or Risk()
    load = planned_load(traffic, rates, risks, headroom)
    buys = load.bought_as(buys)
    sold = market(buys)
    cards = cards_to_try(gpus, exclude_gpus, sold if buys.narrows else None)
    settings = with_length(settings, llm, traffic)
    tried, more = formats_to_try(llm, settings, quantization, min_quality)
    varied = tried_of(settings)
    kvs = kvs_to_try(llm, settings.kv_cache_dtype, min_quality)
    limits = Limits(
        max_gpus,
        budget_usd_per_hour,
        sold,
        buys.mean_share,
        load.headroom,
        top,
        risks,
    )
    asking = Verify(verify)
    scopes = [
        Scope(llm, cards, some, kvs, settings, max_gpus, varied) for some in (tried, more) if some
    ]
    search, kept, lost, weights = _searched(scopes, load.planned, promise, limits, asking)
    given = {"slo": slo, "gpus": gpus, "weight_formats": quantization, "headroom": headroom}
    question = PlanQuestion(
        model=llm.id,
        hf_id=llm.hf_id,
        traffic=traffic,
        slo=promise,
        headroom=load.headroom,
        max_model_len=settings.max_model_len or 0,
        gpus=tuple(card.id for card in cards),
        weight_formats=tuple(weight.id for weight in weights),
        max_gpus=max_gpus,
        budget_usd_per_hour=budget_usd_per_hour,
        min_quality=min_quality,
        buying=buys,
        currency=sold.currency.code,
        usd_per_unit=sold.currency.usd,
        version=settings.version,
        defaults=tuple(name for name, value in given.items() if value is None),
        risk=risks,
    )
    made = Plan(
        question=question,
        best=kept[0].choice if kept else None,
        alternatives=tuple(one.choice for one in kept[1:]),
        rejections=merged(lost, {one.choice.gpu for one in kept}),
        closest=None if kept else closest(lost),
        hosted=hosted(question, kept[0].choice, sold) if kept else None,
    )
    if search is None or not kept:
        return made
    made = with_reasons(made, search, kept[0], load, scaling=scaling or Scaling(), sold=sold)
    features: list[Feature] = []
    without = partial(_without, scopes, promise, limits, asking)
    if search.prefix_caching and traffic.hit_share:
        from fitcalc.planning.features import prefix_caching  # noqa: PLC0415 - only where asked

        plain = without(settings.replace(enable_prefix_caching=False), load.planned)
        features.append(prefix_caching(kept[0], plain, promise))
    if speculation is not None:
        from fitcalc.planning.speculation import speculative  # noqa: PLC0415 - only where asked

        features.append(speculative(search, kept, speculation, limits))
    if disaggregated:
        from fitcalc.planning.pooled import disaggregated as pooled  # noqa: PLC0415 - loads events

        features.append(pooled(search, kept[0], limits))
    if settings.enable_lora:
        from fitcalc.planning.adapters import adapters  # noqa: PLC0415 - only where asked

        bare = partial(without, settings.replace(enable_lora=False))
        features.append(
            adapters(kept[0], num_adapters, load.planned, slo=promise, limits=limits, bare=bare)
        )
    if kv_offload_bytes is not None:
        from fitcalc.planning.offload import offloaded  # noqa: PLC0415 - only where asked

        features.append(offloaded(search, kept, kv_offload_bytes, limits))
    update: dict[str, object] = {"features": tuple(features)}
    if pareto:
        from fitcalc.planning.pareto import front_of  # noqa: PLC0415 - only where asked

        update["pareto"] = front_of(search, limits)
    if sensitivity is not None:
        from fitcalc.planning.sensitivity import sensitivity_of  # noqa: PLC0415 - only where asked

        update["sensitivity"] = sensitivity_of(scopes, load.planned, promise, limits, sensitivity)
    return made.model_copy(update=update)


class Verify(Enum):
    """Whether a plan's winners are simulated."""

    NO = False
    YES = True
    CHEAP = "cheap"


def _searched(
    scopes: Sequence[Scope], traffic: Traffic, promise: Slo, limits: Limits, asking: Verify
) -> tuple[Search | None, list[Finalist], list[RejectedChoice], tuple[WeightFormat, ...]]:
    """Search scopes until one serves: the last one's search, who is kept, who lost, all formats."""
    kept: list[Finalist] = []
    search: Search | None = None
    lost: list[RejectedChoice] = []
    weights: tuple[WeightFormat, ...] = ()
    for scope in scopes:
        weights += scope.weights
        search, kept, out = ranked(scope, traffic, promise, limits)
        lost += out
        if kept and asking is not Verify.NO:
            kept, missing = _confirmed(search, kept, limits, cheap=asking is Verify.CHEAP)
            lost += missing
        if kept:
            break
    return search, kept, lost, weights


def _without(  # noqa: PLR0917 - as a search takes them
    scopes: Sequence[Scope],
    promise: Slo,
    limits: Limits,
    asking: Verify,
    engine: EngineArgs,
    traffic: Traffic,
) -> Choice | None:
    """Search again with other settings; ``None`` = none keeps the promise."""
    others = [replace(one, engine=engine) for one in scopes]
    _, kept, _, _ = _searched(others, traffic, promise, limits, asking)
    return kept[0].choice if kept else None


def _confirmed(
    search: Search, kept: Sequence[Finalist], limits: Limits, *, cheap: bool
) -> tuple[list[Finalist], list[RejectedChoice]]:
    """Ask events about the best, and where it was asked for about its runners-up."""
    from fitcalc.planning.confirm import CHEAP_S, Bounds, confirmed  # noqa: PLC0415 - loads events

    bounds = Bounds(
        limits.max_gpus,
        limits.budget_usd_per_hour,
        limits.sold,
        CHEAP_S if cheap else math.inf,
    )
    return confirmed(search, kept, 1 if cheap else 1 + limits.top, bounds)
