"""Candidates in order of cost, each with the servers that keep the promise, and who lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Rejection
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.weights import Parallel
from fitcalc.planning.candidates import Scope, candidates, rejected
from fitcalc.planning.choice import Choice, RejectedChoice
from fitcalc.planning.evaluate import entries
from fitcalc.planning.finalists import Finalist, finalists
from fitcalc.planning.losers import over_limits, refused
from fitcalc.planning.market import Market
from fitcalc.planning.missed import Failure, missed
from fitcalc.planning.priced import Priced, enough
from fitcalc.planning.search import Entry, Search
from fitcalc.planning.slow_end import deviations, sized
from fitcalc.planning.worth import Worth

Sizer: TypeAlias = Callable[
    [Sequence[Entry], Callable[[Entry], str]], tuple[list[Priced], list[RejectedChoice]]
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a plan beside the promise: GPUs, money, what is on sale, how busy, free room."""

    max_gpus: int | None
    budget_usd_per_hour: float | None
    sold: Market
    mean_share: float
    headroom: float
    top: int
    risk: Risk
    efficiency: float = 1.0


def search_of(scope: Scope, traffic: Traffic, promise: Slo, limits: Limits) -> Search:
    """Return what every candidate of a question shares."""
    blocks, _ = candidates(scope)
    return Search(
        scope.model,
        blocks,
        traffic,
        promise,
        scope.engine.enable_prefix_caching is not False,
        limits.mean_share,
        limits.risk.spare,
        limits.efficiency,
    )


def sizer(search: Search, limits: Limits) -> Sizer:
    """Return what finds the cheapest candidate of each kind, with its servers."""
    risk = limits.risk
    level = deviations(risk.confidence) if risk.confidence else 0.0
    worth = Worth(search.traffic.load, limits.headroom, limits.sold, limits.max_gpus, risk.spare)
    return partial(sized, search, worth=worth, level=level)


def ranked(
    scope: Scope, traffic: Traffic, promise: Slo, limits: Limits
) -> tuple[Search, list[Finalist], list[RejectedChoice]]:
    """Return the question as it was searched, the choices in order of cost, and who lost."""
    _, out = candidates(scope)
    search = search_of(scope, traffic, promise, limits)
    able = entries(search)
    lost = [*out, *refused(able)]
    able = [entry for entry in able if entry.refused is None]
    size = sizer(search, limits)
    best, slow = size(able, lambda e: e.gpu)
    lost += slow
    if best:
        # The cheapest type's own other formats are worth seeing beside the other types.
        winner = best[0].found
        own = [entry for entry in able if entry.gpu == winner.entry.gpu]
        others, _ = size(own, lambda e: e.block.weight.id)
        fresh = [one for one in others if one.found != winner]
        best = sorted([*best, *fresh], key=Priced.order)
    within, over = over_limits(best, limits.max_gpus, limits.budget_usd_per_hour)
    kept, late = written(search, _kept(within, limits.top), limits)
    return search, kept, [*lost, *over, *late]


def written(
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
