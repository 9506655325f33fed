"""Means and percentiles of what was felt, and how sure a p99 is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fitcalc.answers import Percentiles
from fitcalc.units import MILLI, Array

_PARTS, _NORMAL_95 = 20, 1.96


def p99_spread(times_s: Array) -> float:
    """Half the 95 % interval of a p99 over the p99, from the p99s of twenty parts in a row. [1]

    Examples:
        >>> p99_spread(np.ones(4000))
        0.0
    """
    parts = np.array_split(times_s, _PARTS)
    if len(parts[-1]) < _PARTS:
        return math.inf
    found = np.array([np.percentile(part, 99) for part in parts])
    return float(_NORMAL_95 * found.std(ddof=1) / math.sqrt(_PARTS) / found.mean())


def percentiles(values_s: Array, counts: Array | None = None) -> Percentiles:
    """Mean and percentiles of times, each felt ``counts`` times. [s] -> [ms]

    Between two felt times the percentile is a straight line, as numpy.percentile has it on the
    values written out. Zeros where there is no value.

    Examples:
        >>> percentiles(np.array([0.001, 0.003]), np.array([3.0, 1.0])).mean
        1.5
    """
    if counts is None:
        if not len(values_s):
            return Percentiles(mean=0.0, p50=0.0, p90=0.0, p95=0.0, p99=0.0)
        found = np.percentile(values_s, (50, 90, 95, 99)) / MILLI
        p50, p90, p95, p99 = map(float, found)
        mean = float(values_s.mean()) / MILLI
        return Percentiles(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)
    if not counts.any():
        return Percentiles(mean=0.0, p50=0.0, p90=0.0, p95=0.0, p99=0.0)
    p50, p90, p95, p99 = map(float, quantiles(values_s, (0.50, 0.90, 0.95, 0.99), counts) / MILLI)
    mean = float(np.average(values_s, weights=counts)) / MILLI
    return Percentiles(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)


def quantiles(values: Array, shares: Sequence[float], counts: Array | None = None) -> Array:
    """Values that shares of all keep, each felt ``counts`` times; zeros where there is none.

    Examples:
        >>> quantiles(np.array([3.0, 1.0]), (0.5, 1.0), np.array([1.0, 3.0])).tolist()
        [1.0, 3.0]
    """
    if counts is None:
        return np.quantile(values, shares) if len(values) else np.zeros(len(shares))
    felt = counts > 0
    values, counts = values[felt], counts[felt]
    if not len(values):
        return np.zeros(len(shares))
    order = np.argsort(values, kind="stable")
    values, cumulative = values[order], np.cumsum(counts[order])
    rank = np.asarray(shares) * (float(cumulative[-1]) - 1.0)
    low = np.searchsorted(cumulative, np.floor(rank), side="right")
    high = np.searchsorted(cumulative, np.ceil(rank), side="right")
    result: Array = values[low] + (values[high] - values[low]) * (rank - np.floor(rank))
    return result
