"""Candidates with replicas and bill, held to the promise at the load that they will carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fitcalc.planning.cost import Bill, bill, replicas_for
from fitcalc.planning.market import Market
from fitcalc.planning.search import Found, Search
from fitcalc.planning.worth import order
from fitcalc.queueing.goodput import keeps, state_of

_MOST_MORE = 2
"""Times as many replicas as planned that are tried where the promise does not hold yet. [1]"""
Keeps: TypeAlias = Callable[[Sequence["Priced"]], NDArray[np.bool_]]
"""Says of each candidate whether it keeps the promise."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A candidate with its replicas and its bill, where a price is known."""

    found: Found
    replicas: int
    bill: Bill | None

    @property
    def gpu_count(self) -> int:
        """GPUs of all replicas. [1]"""
        return self.replicas * self.found.entry.gpus

    @property
    def used_share(self) -> float:
        """GPUs of the replicas over the GPUs that are paid for. [1]"""
        return self.gpu_count / self.bill.gpus if self.bill else 1.0

    def order(self) -> tuple[float, float, float]:
        """Rank by money; types without a price follow, by GPUs."""
        return order(self.bill, self.gpu_count)


def priced(
    search: Search, found: Iterable[Found], headroom: float, sold: Market
) -> tuple[list[Priced], list[Found]]:
    """Count replicas and money; return who keeps the promise then, cheapest first, and who cannot.

    Goodput is found by bisection, which trusts that more load is never better. So each candidate is
    asked once more at the load it will carry, and given more replicas where it misses.
    """
    load, spare = search.traffic.load, search.spare
    planned = [
        with_replicas(one, spare + int(replicas_for(load, one.load, headroom)), sold)
        for one in found
    ]
    kept, slow = enough(planned, lambda some: _keeps(search, some), sold)
    return sorted(kept, key=Priced.order), [one.found for one in slow]


def enough(
    planned: Sequence[Priced], keeps: Keeps, sold: Market
) -> tuple[list[Priced], list[Priced]]:
    """Give the fewest replicas with which each keeps a promise, and at least those planned.

    Returns:
        Who keeps it, and who does not even with twice the replicas.
    """
    if not planned:
        return [], []
    good = keeps(planned)
    kept = [one for one, ok in zip(planned, good, strict=True) if ok]
    late = [one for one, ok in zip(planned, good, strict=True) if not ok]
    misses, holds = _doubled(late, keeps, sold)
    while any(high.replicas - low.replicas > 1 for low, high in zip(misses, holds, strict=True)):
        between = [
            with_replicas(low.found, (low.replicas + high.replicas) // 2, sold)
            for low, high in zip(misses, holds, strict=True)
        ]
        good = keeps(between)
        for i, (one, ok) in enumerate(zip(between, good, strict=True)):
            if one.replicas > misses[i].replicas:
                (holds if ok else misses)[i] = one
    served = {one.found.entry.index for one in holds}
    return [*kept, *holds], [one for one in late if one.found.entry.index not in served]


def _doubled(
    late: Sequence[Priced], keeps: Keeps, sold: Market
) -> tuple[list[Priced], list[Priced]]:
    """Add 1, 2, 4, ... replicas until each keeps the promise; pairs of the last two tried."""
    misses: list[Priced] = []
    holds: list[Priced] = []
    waiting, more = list(late), 1
    most = {one.found.entry.index: _MOST_MORE * one.replicas for one in late}
    while waiting:
        tried = [with_replicas(one.found, one.replicas + more, sold) for one in waiting]
        good = keeps(tried)
        misses += [one for one, ok in zip(waiting, good, strict=True) if ok]
        holds += [one for one, ok in zip(tried, good, strict=True) if ok]
        waiting = [
            one
            for one, ok in zip(tried, good, strict=True)
            if not ok and one.replicas < most[one.found.entry.index]
        ]
        more *= 2
    return misses, holds


def with_replicas(found: Found, replicas: int, sold: Market) -> Priced:
    """Price a candidate at a number of replicas."""
    entry = found.entry
    return Priced(found, replicas, bill(entry.gpu, entry.gpus, replicas, sold))


def _keeps(search: Search, asked: Sequence[Priced]) -> NDArray[np.bool_]:
    """Whether each keeps the promise at its load. (row,)."""
    server = search.servers([one.found for one in asked])
    load = np.array([search.share(one.replicas).load for one in asked])
    burstiness = search.traffic.burstiness
    state = state_of(server, load, closed=search.closed, burstiness=burstiness)
    return keeps(server, state, search.slo, burstiness) & state.stable
