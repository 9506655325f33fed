"""Goodput: the most a server can carry while its promise holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Limit
from fitcalc.inputs.slo import Slo
from fitcalc.queueing.closed_loop import closed_loop
from fitcalc.queueing.latency import gaps_within, latency, ttft_law
from fitcalc.queueing.profile import Profile
from fitcalc.queueing.steady import Steady, largest_stable_rate, steady
from fitcalc.units import MILLI, Array, Values

_HALVINGS = 8
_PERCENT = 100.0
_LEAST_SHARE = 1e-3


class Slower(NamedTuple):
    """How many times longer each latency is than predicted. [1], a number or (row,)"""

    ttft: Values = 1.0
    itl: Values = 1.0
    e2e: Values = 1.0


AS_PREDICTED = Slower()


def keeps(
    server: Profile,
    state: Steady,
    slo: Slo,
    burstiness: float = 1.0,
    slower: Slower = AS_PREDICTED,
) -> NDArray[np.bool_]:
    """Whether each server keeps every limit of the promise at its percentile. (row,)."""
    kept: NDArray[np.bool_] = np.logical_and.reduce(
        [ok for _, ok in kept_limits(server, state, slo, burstiness, slower)]
    )
    return kept


def kept_limits(
    server: Profile,
    state: Steady,
    slo: Slo,
    burstiness: float = 1.0,
    slower: Slower = AS_PREDICTED,
) -> list[tuple[Limit, NDArray[np.bool_]]]:
    """Each limit of the promise, and whether each server keeps it. (row,)."""
    share = slo.percentile / _PERCENT
    rows = len(server.max_batch)
    ttft = ttft_law(server, state, burstiness).share_within(
        np.full(rows, slo.ttft_ms * MILLI) / slower.ttft
    )
    itl = gaps_within(server, state, slo.itl_ms * MILLI / slower.itl)
    kept = [(Limit.TTFT, ttft >= share), (Limit.ITL, itl >= slo.at(Limit.ITL) / _PERCENT)]
    if slo.e2e_ms is not None:
        whole = latency(server, state, burstiness).e2e
        ok = whole.share_within(np.full(rows, slo.e2e_ms * MILLI) / slower.e2e)
        kept.append((Limit.E2E, ok >= share))
    return kept


def goodput(server: Profile, slo: Slo, burstiness: float = 1.0) -> Array:
    """Return the highest rate at which the promise holds, by bisection. [1/s] (row,).

    Zero where it fails even at a thousandth of the largest stable rate.
    """
    capacity = largest_stable_rate(server)

    def holds(rate: Array) -> NDArray[np.bool_]:
        return keeps(server, steady(server, rate, burstiness), slo, burstiness)

    return _bisect(holds, capacity * _LEAST_SHARE, capacity, _HALVINGS)


def most_clients(server: Profile, slo: Slo, limit: Array) -> Array:
    """Return the most clients, up to about a limit, at which the promise holds. [1] (row,).

    Clients come whole. The search begins at a power of two above the limit, so that it asks about
    the same numbers of clients whatever the limit: a looser promise never finds fewer.
    """
    halvings = np.ceil(np.log2(np.maximum(limit, 1.0) + 1.0))

    def holds(clients: Array) -> NDArray[np.bool_]:
        return keeps(server, closed_loop(server, np.maximum(np.floor(clients), 1.0)), slo)

    found = _bisect(holds, np.zeros(len(limit)), 2.0**halvings, int(halvings.max(initial=1.0)))
    return np.maximum(np.floor(found), holds(found).astype(np.float64))


def state_of(server: Profile, load: Array, *, closed: bool, burstiness: float = 1.0) -> Steady:
    """Return the steady state at a rate (open loop) or a number of clients (closed). (row,)."""
    return closed_loop(server, load) if closed else steady(server, load, burstiness)


def _bisect(
    holds: Callable[[Array], NDArray[np.bool_]], low: Array, high: Array, halvings: int
) -> Array:
    """Largest load at which a falling condition still holds, 0 where it never does."""
    some = holds(low)
    for _ in range(halvings):
        middle = (low + high) / 2.0
        ok = holds(middle)
        low, high = np.where(ok, middle, low), np.where(ok, high, middle)
    return np.where(some, low, 0.0)
