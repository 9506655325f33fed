"""What a fifth more or less of each part of a question does to the choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from fitcalc.answers import Limit
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.candidates import Scope
from fitcalc.planning.evaluate import entries
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.losers import over_limits
from fitcalc.planning.ranking import Limits, search_of, sizer, written
from fitcalc.planning.search import Entry, Search
from fitcalc.planning.why import Case, Lever, Outcome, Sensitivity, Swing

_Kind: TypeAlias = tuple[str, int, int, str, str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question whose parts can be moved."""

    scopes: Sequence[Scope]
    traffic: Traffic
    slo: Slo
    limits: Limits


def sensitivity_of(
    scopes: Sequence[Scope], traffic: Traffic, slo: Slo, limits: Limits, share: float
) -> Sensitivity | None:
    """Move each lever by a share, down and up, and plan again; ``None`` = nothing serves."""
    asked = _Asked(scopes, traffic, slo, limits)
    chosen = _best(asked)
    if chosen is None:
        return None
    base, own = _outcome(chosen, slo), _kind(chosen.priced.found.entry)
    swings = []
    for lever in Lever:
        if lever is Lever.PRICE and base.usd_per_hour is None:
            continue
        low, high = (
            _case(_moved(asked, base.gpu, lever, 1.0 + d), own, base) for d in (-share, share)
        )
        swings.append(Swing(lever=lever, low=low, high=high))
    swings.sort(key=lambda one: -_width(one, base))
    return Sensitivity(share=share, base=base, swings=tuple(swings))


def _case(asked: _Asked, own: _Kind, base: Outcome) -> Case:
    """Say what a question comes to, for the chosen kind of server and for the cheapest."""
    best = _best(asked)
    if best is None:
        return Case(same=None, best=None, stands=False)
    least = _outcome(best, asked.slo)
    if _kind(best.priced.found.entry) == own:
        return Case(same=least, best=least, stands=True)
    found = _best(asked, lambda entry: _kind(entry) == own)
    same = None if found is None else _outcome(found, asked.slo)
    stands = same is not None and base.change(same) <= base.change(least)
    return Case(same=same, best=same if stands else least, stands=stands)


def _moved(asked: _Asked, gpu: str, lever: Lever, factor: float) -> _Asked:
    """Return the question with one lever moved."""
    limits = asked.limits
    match lever:
        case Lever.EFFICIENCY:
            return replace(asked, limits=replace(limits, efficiency=factor))
        case Lever.PRICE:
            return replace(asked, limits=replace(limits, sold=limits.sold.with_price(gpu, factor)))
        case _:
            return replace(asked, traffic=scaled(asked.traffic, lever, factor))


def scaled(traffic: Traffic, lever: Lever, factor: float) -> Traffic:
    """Return a traffic with longer prompts, longer answers or more of both; clients come whole."""
    if lever is Lever.CONTEXT:
        isl = times(traffic.isl, factor)
        return traffic.replace(isl=isl, prefix_tokens=min(traffic.prefix_tokens, int(isl.mean)))
    if lever is Lever.OUTPUT:
        return traffic.replace(osl=times(traffic.osl, factor))
    if traffic.qps is not None:
        return traffic.replace(qps=traffic.qps * factor)
    return traffic.replace(concurrency=max(1, round((traffic.concurrency or 1) * factor)))


def times(lengths: Lengths, factor: float) -> Lengths:
    """Return lengths so many times as long, of a token at least.

    Examples:
        >>> times(Lengths.fixed(100), 0.5).mean
        50.0
    """
    factor = max(factor, 1.0 / lengths.mean)
    return lengths.replace(
        low=lengths.low * factor,
        high=lengths.high * factor,
        average=lengths.average * factor,
        values=tuple(value * factor for value in lengths.values),
    )


def _best(asked: _Asked, who: Callable[[Entry], bool] = lambda _: True) -> Finalist | None:
    """Return the cheapest of some candidates, in closed form."""
    longest = asked.traffic.longest
    for scope in asked.scopes:
        if longest > scope.model.max_position_embeddings:
            return None
        length = max(longest, scope.engine.max_model_len or 0)
        room = replace(scope, engine=scope.engine.replace(max_model_len=length))
        search = search_of(room, asked.traffic, asked.slo, asked.limits)
        able = [entry for entry in entries(search) if entry.refused is None and who(entry)]
        # The one cheapest is soon found; only where it fails at the edge are all types asked.
        for kind in (_alike, _gpu):
            found = _cheapest(search, able, kind, asked.limits)
            if found is not None:
                return found
    return None


def _alike(_: Entry) -> str:
    return ""


def _gpu(entry: Entry) -> str:
    return entry.gpu


def _kind(entry: Entry) -> _Kind:
    """Return what makes two servers of one kind: GPU type, layout and formats."""
    block = entry.block
    return entry.gpu, block.split.tp, block.split.pp, block.weight.id, block.kv.id


def _cheapest(
    search: Search, able: Sequence[Entry], kind: Callable[[Entry], str], limits: Limits
) -> Finalist | None:
    sized, _ = sizer(search, limits)(able, kind)
    within, _ = over_limits(sized, limits.max_gpus, limits.budget_usd_per_hour)
    for one in within:
        made, _ = written(search, [one], limits)
        if made:
            return made[0]
    return None


def _outcome(one: Finalist, slo: Slo) -> Outcome:
    """Say in a line what a finalist comes to."""
    choice = one.choice
    return Outcome(
        gpu=choice.gpu,
        gpu_count=choice.gpu_count,
        replicas=choice.replicas,
        tensor_parallel_size=choice.engine.tensor_parallel_size,
        pipeline_parallel_size=choice.engine.pipeline_parallel_size,
        weight_format=choice.engine.weight_format,
        kv_cache_dtype=choice.engine.kv_cache_dtype,
        usd_per_hour=choice.usd_per_hour,
        ttft_ms=choice.prediction.ttft_ms.at(slo.percentile),
        itl_ms=choice.prediction.itl_ms.at(slo.at(Limit.ITL)),
    )


def _width(swing: Swing, base: Outcome) -> float:
    """How far a lever moves the cost, or the GPUs where no price is known. [1]"""
    ends = (swing.low.best, swing.high.best)
    return max(math.inf if end is None else abs(base.change(end)) for end in ends)
