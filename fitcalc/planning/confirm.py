"""Finalists confirmed event by event, and given more servers where events miss the promise."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fitcalc.answers import Rejection
from fitcalc.planning.candidates import rejected
from fitcalc.planning.choice import RejectedChoice, Verification
from fitcalc.planning.finalists import Finalist, finalists
from fitcalc.planning.losers import over_limits
from fitcalc.planning.market import Market
from fitcalc.planning.missed import in_ms
from fitcalc.planning.predict import TRUSTED
from fitcalc.planning.priced import with_replicas
from fitcalc.planning.search import Search
from fitcalc.planning.verify import cost_s, from_events, verification

CHEAP_S = 0.2
"""Time that a simulation may cost where nobody asked for it. [s]"""
_GROWTH = (1.05, 1.1, 1.25, 1.5, 2.0)
"""How replicas grow, one after the other, while events miss the promise. [1]"""
_MOST_RUNS = 12
"""Simulations after which no further runner-up is confirmed. [1]"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan with other servers must stay within.

    Attributes:
        max_gpus, budget_usd_per_hour: As in ``plan``.
        sold: What may be bought.
        cost_s: Most that one simulation may cost. [s]
    """

    max_gpus: int | None
    budget_usd_per_hour: float | None
    sold: Market
    cost_s: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A finalist, the servers that the closed form gave it, and how often it grew."""

    finalist: Finalist
    planned: int
    tries: int = 0


def confirmed(
    search: Search, some: Sequence[Finalist], wanted: int, bounds: Bounds
) -> tuple[list[Finalist], list[RejectedChoice]]:
    """Confirm the cheapest finalists; who misses in events is given servers, or lost.

    Finalists that cost too much to simulate stay as they are, and so do those behind the winners.

    Args:
        search: The question.
        some: Finalists, cheapest first.
        wanted: Winners to confirm. [1]
        bounds: What more servers must stay within.
    """
    waiting = [Tried(one, one.priced.replicas) for one in some]
    sure: list[Finalist] = []
    lost: list[RejectedChoice] = []
    runs = 0
    while waiting and len(sure) < wanted and (runs < _MOST_RUNS or not sure):
        one = waiting[0]
        if cost_s(one.finalist, search.slo) > bounds.cost_s:
            break
        waiting.pop(0)
        runs += 1
        seen = verification(one.finalist, search.slo, one.planned)
        if seen.ok:
            sure.append(_with(one.finalist, seen))
            continue
        more, no = _more(search, one, bounds)
        if more is None:
            lost += no or [_late(one.finalist, seen)]
        else:
            insort(waiting, more, key=lambda tried: tried.finalist.priced.order())
    sure.sort(key=lambda one: one.priced.order())
    return [*sure, *(tried.finalist for tried in waiting)], lost


def _with(one: Finalist, seen: Verification) -> Finalist:
    """Attach what events say; it is the prediction itself where the closed form is not trusted."""
    said, slo_missed = (
        one.choice.prediction,
        any(
            row.promised_ms is not None and row.closed_form_ms > row.promised_ms
            for row in seen.limits
        ),
    )
    if said.utilization > TRUSTED or slo_missed:
        said = from_events(one, said, seen)
    notes = one.choice.notes
    servers, planned = one.choice.replicas, seen.replicas_planned
    if servers > planned:
        words = f"events missed the promise on {planned} servers: {servers - planned} added"
        notes = (*notes, words)
    update = {"prediction": said, "verification": seen, "notes": notes}
    return replace(one, choice=one.choice.model_copy(update=update))


def _more(search: Search, one: Tried, bounds: Bounds) -> tuple[Tried | None, list[RejectedChoice]]:
    """Return the finalist with more servers, or why there are none."""
    if one.tries >= len(_GROWTH):
        return None, []
    now = one.finalist.priced
    servers = max(now.replicas + 1, math.ceil(one.planned * _GROWTH[one.tries]))
    grown = with_replicas(now.found, servers, bounds.sold)
    within, over = over_limits([grown], bounds.max_gpus, bounds.budget_usd_per_hour)
    made = finalists(search, within)
    return (replace(one, finalist=made[0], tries=one.tries + 1) if made else None), over


def _late(one: Finalist, seen: Verification) -> RejectedChoice:
    """Say which limit events miss by the most."""
    worst = max(
        (row for row in seen.limits if row.promised_ms),
        key=lambda row: row.simulated_ms / (row.promised_ms or math.inf),
    )
    promised = worst.promised_ms or 0.0
    reason = (
        f"in events {worst.limit.value.upper()} at p{worst.percentile:g} is "
        f"{in_ms(worst.simulated_ms)}, promised are {in_ms(promised)}"
    )
    no = Rejection(limit=worst.limit, needed=worst.simulated_ms, available=promised, reason=reason)
    engine = one.setup.engine
    return rejected(
        one.choice.gpu, one.setup.split, engine.weight_format, engine.kv_cache_dtype, no
    )
