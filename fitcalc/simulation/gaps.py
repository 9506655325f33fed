"""Times and how often each was felt: exact while they are few, then to one part in ten thousand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcalc.units import Array

_EXACT = 1 << 18
"""Times kept as they are. [1]"""
_GRAIN = 1e-4
"""Relative width of the bins that more of them are joined in. [1]"""


class Gaps:
    """A weighted sample whose memory is bounded.

    Attributes:
        values_s: The times. [s]
        counts: How often each was felt. [1]
    """

    def __init__(self) -> None:
        """Start with nothing felt."""
        self._parts: list[tuple[Array, Array]] = []
        self._size = 0
        self._limit = _EXACT

    def add(self, values_s: Array, counts: Array) -> None:
        """Add times, each felt ``counts`` times."""
        self._parts.append((values_s, counts))
        self._size += len(values_s)
        if self._size > self._limit:
            values, weights = self._joined()
            self._parts = [_binned(values, weights)]
            self._size = len(self._parts[0][0])
            self._limit = self._size + _EXACT

    @property
    def values_s(self) -> Array:
        """The times. [s]"""
        return self._joined()[0]

    @property
    def counts(self) -> Array:
        """How often each was felt. [1]"""
        return self._joined()[1]

    def _joined(self) -> tuple[Array, Array]:
        if len(self._parts) != 1:
            values = [part[0] for part in self._parts] or [np.zeros(0)]
            counts = [part[1] for part in self._parts] or [np.zeros(0)]
            self._parts = [(np.concatenate(values), np.concatenate(counts))]
        return self._parts[0]


def merged_gaps(parts: Sequence[Gaps]) -> Gaps:
    """Put the gaps of several engines into one sample."""
    whole = Gaps()
    for part in parts:
        whole.add(part.values_s, part.counts)
    return whole


def _binned(values: Array, counts: Array) -> tuple[Array, Array]:
    """Join times that differ by less than the grain at their weighted mean."""
    felt = counts > 0
    values, counts = values[felt], counts[felt]
    bins = np.floor(np.log(np.maximum(values, 1e-12)) / np.log1p(_GRAIN)).astype(np.int64)
    _, index = np.unique(bins, return_inverse=True)
    weights = np.bincount(index, counts).astype(np.float64)
    return np.bincount(index, counts * values) / weights, weights
