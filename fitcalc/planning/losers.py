"""Who lost, to which limit, and by how much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fitcalc.answers import Limit, Rejection
from fitcalc.planning.candidates import rejected
from fitcalc.planning.choice import RejectedChoice
from fitcalc.planning.cost import within_budget
from fitcalc.planning.missed import in_ms
from fitcalc.planning.priced import Priced
from fitcalc.planning.search import Entry, Found, Search
from fitcalc.queueing.goodput import kept_limits, state_of
from fitcalc.queueing.latency import latency
from fitcalc.queueing.mixture import Gaps, Mixture
from fitcalc.units import MILLI

_ALMOST_IDLE = 1e-3
_PERCENT = 100.0


def of(entry: Entry, no: Rejection) -> RejectedChoice:
    """Say which candidate a rejection is about."""
    block = entry.block
    return rejected(entry.gpu, block.split, block.weight.id, block.kv.id, no)


def refused(entries: Iterable[Entry]) -> list[RejectedChoice]:
    """Return the candidates that miss the promise even when idle."""
    return [of(e, e.refused) for e in entries if e.refused is not None]


def cannot_carry(search: Search, found: Sequence[Found]) -> list[RejectedChoice]:
    """Return the candidates that keep the promise at no load, with the limit they miss."""
    lost = []
    for one in found:
        server = search.servers([one])
        load = np.array([max(one.entry.load, 1e-9) * _ALMOST_IDLE])
        load = np.maximum(load, 1.0) if search.closed else load
        burstiness = search.traffic.burstiness
        state = state_of(server, load, closed=search.closed, burstiness=burstiness)
        kept = kept_limits(server, state, search.slo, burstiness)
        limit = next((name for name, ok in kept if not ok[0]), Limit.TTFT)
        answer = latency(server, state, burstiness)
        laws: dict[Limit, tuple[Mixture | Gaps, float | None]] = {
            Limit.TTFT: (answer.ttft, search.slo.ttft_ms),
            Limit.ITL: (answer.gaps, search.slo.itl_ms),
            Limit.E2E: (answer.e2e, search.slo.e2e_ms),
        }
        law, most = laws[limit]
        promised = most or 0.0
        percentile = search.slo.at(limit)
        felt = float(law.quantile(percentile / _PERCENT)[0]) / MILLI
        no = Rejection(
            limit=limit,
            needed=felt,
            available=promised,
            reason=f"{limit.value.upper()} at p{percentile:g} is {in_ms(felt)} with hardly any "
            f"load; promised {in_ms(promised)}",
        )
        lost.append(of(one.entry, no))
    return lost


def over_limits(
    priced: Sequence[Priced], max_gpus: int | None, budget: float | None
) -> tuple[list[Priced], list[RejectedChoice]]:
    """Split candidates into those within the most GPUs and money, and the rest."""
    within, lost = [], []
    for one in priced:
        no = _over(one, max_gpus, budget)
        if no is None:
            within.append(one)
        else:
            lost.append(of(one.found.entry, no))
    return within, lost


def _over(one: Priced, max_gpus: int | None, budget: float | None) -> Rejection | None:
    if max_gpus is not None and one.gpu_count > max_gpus:
        reason = f"the traffic takes {one.gpu_count} GPUs; at most {max_gpus} are allowed"
        return Rejection(
            limit=Limit.MAX_GPUS, needed=one.gpu_count, available=max_gpus, reason=reason
        )
    if budget is None:
        return None
    if one.bill is None:
        reason = "no price is known, so the budget cannot be checked"
        return Rejection(limit=Limit.PRICE, needed=0.0, available=budget, reason=reason)
    money = one.bill.usd_per_hour
    if within_budget(money, budget):
        return None
    reason = f"the traffic costs {money:,.2f} USD/h; at most {budget:,.2f} are allowed"
    return Rejection(limit=Limit.BUDGET, needed=money, available=budget, reason=reason)


def merged(lost: Iterable[RejectedChoice], served: set[str]) -> tuple[RejectedChoice, ...]:
    """Keep, for each GPU type, format and limit, the candidate that came closest.

    GPU types that serve in another way keep their losers too; types that do not come first.
    """
    kept: dict[tuple[str, str, Limit], RejectedChoice] = {}
    for one in lost:
        key = (one.gpu, one.weight_format, one.limit)
        if key not in kept or shortfall(one) < shortfall(kept[key]):
            kept[key] = one
    return tuple(sorted(kept.values(), key=lambda one: (one.gpu in served, shortfall(one))))


def closest(lost: Iterable[RejectedChoice]) -> RejectedChoice | None:
    """Return the candidate that came furthest, and of those the one that misses by the least."""
    return min(lost, key=lambda one: (_stage(one.limit), shortfall(one)), default=None)


def nearest(lost: Iterable[RejectedChoice], count: int) -> tuple[RejectedChoice, ...]:
    """Return the candidates that came nearest, at most one of each GPU type."""
    found: dict[str, RejectedChoice] = {}
    for one in sorted(lost, key=lambda one: (_stage(one.limit), shortfall(one))):
        found.setdefault(one.gpu, one)
    return tuple(found.values())[:count]


def _stage(limit: Limit) -> int:
    """How far a loser came: 0 costs too much, 1 too slow, 2 too large, 3 cannot run."""
    if limit in (Limit.BUDGET, Limit.MAX_GPUS, Limit.PRICE):
        return 0
    if limit in (Limit.TTFT, Limit.ITL, Limit.E2E):
        return 1
    return 2 if limit is Limit.MEMORY else 3


def shortfall(one: RejectedChoice) -> float:
    """Return how many times more is needed than available. [1]"""
    return one.needed / max(one.available, 1e-9)
