"""How many servers run when, over rates that change and come again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fitcalc.inputs.rates import Rates
from fitcalc.units import Array

EDGE = 1e-9
_STEPS = 4
"""Moments looked at in each cold start, or in each window where that is shorter. [1]"""
_MOST_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time with a constant number of servers that are paid for.

    Attributes:
        edges_s: Where spans begin, and the end of the last. [s]
        servers: In each. [1]
    """

    edges_s: Array
    servers: Array


def servers_for(rates: Rates, static: int, spare: int) -> Array:
    """Return the servers of each window: none carries more than at the peak. [1] (window,)

    Examples:
        >>> servers_for(Rates.day(10.0), 10, 1).astype(int).tolist()[::6]
        [5, 4, 10, 9]
    """
    share = rates.per_s / rates.per_s.max()
    carrying = np.maximum(np.ceil((static - spare) * share - EDGE), 1.0)
    servers: Array = carrying + spare
    return servers


def paid(rates: Rates, running: Array, before_s: float, after_s: float) -> Spans:
    """Return the servers paid for: each is ordered before its window and held after it.

    The profile comes again and again: what its start needs is ordered before its end.
    """
    end = rates.end_s
    if before_s + after_s >= end:
        return Spans(np.array([0.0, end]), running.max(keepdims=True))
    starts = (np.arange(-1, 2)[:, None] * end + rates.start_s).ravel()
    ends = np.append(starts[1:], 2.0 * end)
    servers = np.tile(running, 3)
    edges = np.unique(np.concatenate([starts - before_s, ends + after_s, [0.0, end]]))
    edges = edges[(edges >= 0.0) & (edges <= end)]
    middle = (edges[:-1] + edges[1:]) / 2.0
    first = np.searchsorted(ends + after_s, middle, side="right")
    last = np.searchsorted(starts - before_s, middle, side="left")
    highest = [servers[i:j].max() for i, j in zip(first, last, strict=True)]
    return Spans(edges, np.array(highest))


def shortest_lead_s(rates: Rates, carrying: Array, each: float) -> float | None:
    """Return how soon the fastest rise outgrows the servers that run when it begins. [s]

    Rates run in straight lines from the middle of one window to that of the next.
    """
    rise, span = _rises(rates)
    free = carrying * each - rates.per_s
    grows = rise > free + EDGE
    if not grows.any():
        return None
    return float((np.maximum(free, 0.0) * span / np.maximum(rise, EDGE))[grows].min())


def late_share(rates: Rates, carrying: Array, at_peak: float, each: float, start_s: float) -> float:
    """Share of requests that meet too few servers where servers follow the load. [1]

    Servers for the rate of a moment are there a cold start later; until then those of one cold
    start ago carry the load, with all that the promise allows.

    Args:
        rates: The profile.
        carrying: Servers of each window, spare ones left out. [1] (window,)
        at_peak: What each is given at most. [1/s]
        each: What each could carry within the promise. [1/s]
        start_s: From the order of a server to its first token. [s]
    """
    if start_s <= 0.0:
        return 0.0
    ends = np.append(rates.start_s, rates.end_s)
    middle = (ends[:-1] + ends[1:]) / 2.0
    step = min(start_s, float(np.diff(ends).min())) / _STEPS
    count = math.ceil(rates.end_s / max(step, rates.end_s / _MOST_STEPS))
    times = (np.arange(count) + 0.5) * (rates.end_s / count)
    now = np.interp(times, middle, rates.per_s, period=rates.end_s)
    before = np.interp(times - start_s, middle, rates.per_s, period=rates.end_s)
    there = np.clip(np.ceil(before / at_peak - EDGE), carrying.min(), carrying.max())
    late = now > there * each + EDGE
    return float(now[late].sum() / now.sum())


def _rises(rates: Rates) -> tuple[Array, Array]:
    """By how much each window's rate rises to the next, and over which time. [1/s], [s]"""
    lasting = np.diff(np.append(rates.start_s, rates.end_s))
    rise: Array = np.roll(rates.per_s, -1) - rates.per_s
    span: Array = (lasting + np.roll(lasting, -1)) / 2.0
    return rise, span


def between(edges: Array, values: Array, cuts: Array) -> Array:
    """Integrate a piecewise constant between cuts.

    Examples:
        >>> between(np.array([0.0, 2, 4]), np.array([1.0, 3]), np.array([0.0, 1, 4])).tolist()
        [1.0, 7.0]
    """
    reached = np.concatenate(([0.0], np.cumsum(values * np.diff(edges))))
    total: Array = np.diff(np.interp(cuts, edges, reached))
    return total
