"""From a question to a plan: the cheapest deployment that keeps the promise, and who lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Rejection
from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.model import load_model
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.scaling import Scaling
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.weights import Parallel
from fitcalc.planning.asked import cards_to_try, check_limits, with_length
from fitcalc.planning.candidates import (
    Scope,
    candidates,
    rejected,
)
from fitcalc.planning.choice import Choice, Plan, PlanQuestion, RejectedChoice
from fitcalc.planning.evaluate import Search, entries
from fitcalc.planning.finalists import Finalist, finalists
from fitcalc.planning.hosted import hosted
from fitcalc.planning.kept import tried as tried_of
from fitcalc.planning.load import planned_load
from fitcalc.planning.losers import closest, merged, over_limits, refused
from fitcalc.planning.market import Market, market
from fitcalc.planning.missed import Failure, missed
from fitcalc.planning.priced import Priced, enough
from fitcalc.planning.quality import formats_to_try, kvs_to_try
from fitcalc.planning.setup import ModelName
from fitcalc.planning.slow_end import deviations, sized
from fitcalc.planning.survive import with_reasons
from fitcalc.planning.worth import Worth


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

    Returns:
        A plan; falsy, with ``closest``, where nothing serves.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    promise, settings, buys = slo or Slo(), engine or EngineArgs(), buying or Buying()
    llm = load_model(model)
    check_limits(max_gpus, budget_usd_per_hour, headroom, min_quality, top)
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
        Verify(verify),
        risks,
    )
    ranked: list[Finalist] = []
    search: Search | None = None
    lost: list[RejectedChoice] = []
    weights: tuple[WeightFormat, ...] = ()
    for some in (tried, more):
        if ranked or not some:
            break
        weights += some
        scope = Scope(llm, cards, some, kvs, settings, max_gpus, varied)
        search, ranked, out = _ranked(scope, load.planned, promise, limits)
        lost += out
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
        best=ranked[0].choice if ranked else None,
        alternatives=tuple(one.choice for one in ranked[1:]),
        rejections=merged(lost, {one.choice.gpu for one in ranked}),
        closest=None if ranked else closest(lost),
        hosted=hosted(question, ranked[0].choice, sold) if ranked else None,
    )
    if search is None or not ranked:
        return made
    return with_reasons(made, search, ranked[0], load, scaling=scaling or Scaling(), sold=sold)


class Verify(Enum):
    """Whether a plan's winners are simulated."""

    NO = False
    YES = True
    CHEAP = "cheap"


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a plan beside the promise: GPUs, money, what is on sale, how busy, free room."""

    max_gpus: int | None
    budget_usd_per_hour: float | None
    sold: Market
    mean_share: float
    headroom: float
    top: int
    verify: Verify
    risk: Risk


def _ranked(
    scope: Scope, traffic: Traffic, promise: Slo, limits: Limits
) -> tuple[Search, list[Finalist], list[RejectedChoice]]:
    """Return the question as it was searched, the choices in order of cost, and who lost."""
    blocks, out = candidates(scope)
    caching = scope.engine.enable_prefix_caching is not False
    search = Search(
        scope.model, blocks, traffic, promise, caching, limits.mean_share, limits.risk.spare
    )
    able = entries(search)
    lost = [*out, *refused(able)]
    able = [entry for entry in able if entry.refused is None]
    level = deviations(limits.risk.confidence) if limits.risk.confidence else 0.0
    worth = Worth(traffic.load, limits.headroom, limits.sold, limits.max_gpus, limits.risk.spare)
    size = partial(sized, search, worth=worth, level=level)
    ranked, slow = size(able, lambda e: e.gpu)
    lost += slow
    if ranked:
        # The cheapest type's own other formats are worth seeing beside the other types.
        winner = ranked[0].found
        own = [entry for entry in able if entry.gpu == winner.entry.gpu]
        others, _ = size(own, lambda e: e.block.weight.id)
        fresh = [one for one in others if one.found != winner]
        ranked = sorted([*ranked, *fresh], key=Priced.order)
    within, over = over_limits(ranked, limits.max_gpus, limits.budget_usd_per_hour)
    kept, late = _written(search, _kept(within, limits.top), limits)
    lost += over + late
    if limits.verify is Verify.NO:
        return search, kept, lost
    chosen, missing = _confirmed(search, kept, limits)
    return search, chosen, lost + missing


def _written(
    search: Search, some: Sequence[Priced], limits: Limits
) -> tuple[list[Finalist], list[RejectedChoice]]:
    """Write out who is kept; who misses at the very edge is given servers, or lost."""
    made = finalists(search, some)
    failed = [(one, missed(one.choice.prediction, search.slo)) for one in made]
    kept = [one for one, no in failed if not no]
    if len(kept) == len(made):
        return kept, []

    def keeps(asked: Sequence[Priced]) -> NDArray[np.bool_]:
        found = finalists(search, asked)
        return np.array([not missed(one.choice.prediction, search.slo) for one in found])

    more, _ = enough([one.priced for one, no in failed if no], keeps, limits.sold)
    more, over = over_limits(more, limits.max_gpus, limits.budget_usd_per_hour)
    saved = {one.found.entry.index for one in more}
    lost = [
        _late(one.choice, no[0])
        for one, no in failed
        if no and one.priced.found.entry.index not in saved
    ]
    kept = sorted([*kept, *finalists(search, more)], key=lambda one: one.priced.order())
    return kept, lost + over


def _confirmed(
    search: Search, kept: Sequence[Finalist], limits: Limits
) -> tuple[list[Finalist], list[RejectedChoice]]:
    """Ask events about the best, and where it was asked for about its runners-up."""
    from fitcalc.planning.confirm import CHEAP_S, Bounds, confirmed  # noqa: PLC0415 - loads events

    cheap = limits.verify is Verify.CHEAP
    bounds = Bounds(
        limits.max_gpus,
        limits.budget_usd_per_hour,
        limits.sold,
        CHEAP_S if cheap else math.inf,
        None if cheap or limits.risk.confidence else limits.headroom,
    )
    return confirmed(search, kept, 1 if cheap else 1 + limits.top, bounds)


def _late(choice: Choice, no: Failure) -> RejectedChoice:
    """Say which limit a finalist misses after all, at the very edge of its places."""
    engine = choice.engine
    split = Parallel(engine.tensor_parallel_size, engine.pipeline_parallel_size)
    reason = Rejection(limit=no.limit, needed=no.needed, available=no.available, reason=no.reason)
    return rejected(choice.gpu, split, engine.weight_format, engine.kv_cache_dtype, reason)


def _kept(ranked: Sequence[Priced], top: int) -> list[Priced]:
    """Return the best of every GPU type, and a few of the winner's other formats, in order."""
    seen: set[str] = set()
    firsts: list[Priced] = []
    others: list[Priced] = []
    for one in ranked:
        (others if one.found.entry.gpu in seen else firsts).append(one)
        seen.add(one.found.entry.gpu)
    return sorted([*firsts, *others[:top]], key=Priced.order)
