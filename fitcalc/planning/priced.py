"""Candidates with replicas and bill, held to the promise at the load that they will carry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcalc.planning.cost import Bill, bill
from fitcalc.planning.evaluate import Found, Search, replicas_for
from fitcalc.planning.market import Market
from fitcalc.queueing.goodput import keeps, state_of

_TRIES = 8
_MORE = 1.1
"""Replicas grow by a tenth, and at least by one, where the promise does not hold yet. [1]"""

_SURE = 0.999
"""Share of the places that are counted on: at the edge of full, one request decides. [1]"""


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

    def order(self) -> tuple[bool, float, int]:
        """Rank by money; types without a price follow, by GPUs."""
        money = self.bill.usd_per_hour if self.bill else 0.0
        return self.bill is None, money, self.gpu_count


def priced(
    search: Search, found: Iterable[Found], headroom: float, sold: Market
) -> tuple[list[Priced], list[Found]]:
    """Count replicas and money; return who keeps the promise then, cheapest first, and who cannot.

    Goodput is found by bisection, which trusts that more load is never better; and clients come
    whole. So each candidate is asked once more at the load it will carry, and given more replicas
    where it misses.
    """
    waiting = [
        with_replicas(one, int(replicas_for(search.traffic.load, one.load, headroom)), sold)
        for one in found
    ]
    kept: list[Priced] = []
    for _ in range(_TRIES):
        if not waiting:
            break
        ok = _keeps(search, waiting)
        kept += [one for one, good in zip(waiting, ok, strict=True) if good]
        waiting = [
            with_replicas(one.found, math.ceil(one.replicas * _MORE), sold)
            for one, good in zip(waiting, ok, strict=True)
            if not good
        ]
    return sorted(kept, key=Priced.order), [one.found for one in waiting]


def with_replicas(found: Found, replicas: int, sold: Market) -> Priced:
    """Price a candidate at a number of replicas."""
    entry = found.entry
    return Priced(found, replicas, bill(entry.gpu, entry.gpus, replicas, sold))


def _keeps(search: Search, asked: Sequence[Priced]) -> NDArray[np.bool_]:
    """Whether each keeps the promise at its load. (row,)."""
    server = search.server(
        np.array([one.found.entry.index for one in asked], dtype=np.intp),
        np.array([one.found.max_batch * _SURE for one in asked]),
        np.array([float(one.found.max_num_batched_tokens) for one in asked]),
    )
    load = np.array([search.traffic.share(one.replicas).load for one in asked])
    burstiness = search.traffic.burstiness
    state = state_of(server, load, closed=search.closed, burstiness=burstiness)
    return keeps(server, state, search.slo, burstiness) & state.stable
