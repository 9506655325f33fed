"""Quantities over time in at most 512 equal bins, which double in width as time goes on."""

from __future__ import annotations

import numpy as np

from fitcalc.units import Array

BINS = 512
COLUMNS = ("busy", "running", "blocks", "decoded", "prompt_tokens", "preempted")
_FIRST_S = 1.0 / 64.0


class Series:
    """Sums of quantities by bins of time.

    Attributes:
        width_s: Width of a bin. [s]
        sums: One row a quantity of ``COLUMNS``, one column a bin.
    """

    def __init__(self) -> None:
        """Start at 0 s with the finest bins."""
        self.width_s = _FIRST_S
        self.sums: Array = np.zeros((len(COLUMNS), BINS))

    def add(self, start_s: Array, end_s: Array, sums: Array, preempted_s: Array) -> None:
        """Add rows of steps, one behind the other in time.

        Args:
            start_s: When each began. [s]
            end_s: When it ended. [s]
            sums: One row a quantity, summed over each row of steps.
            preempted_s: When somebody lost its blocks. [s]
        """
        self.widen(float(end_s[-1]))
        knots = np.column_stack((start_s, end_s)).ravel()
        edges = np.arange(BINS + 1) * self.width_s
        for column, amounts in enumerate(sums):
            grown = np.cumsum(amounts)
            reached = np.column_stack((grown - amounts, grown)).ravel()
            self.sums[column] += np.diff(np.interp(edges, knots, reached))
        self.sums[-1] += np.histogram(preempted_s, edges)[0]

    def widen(self, time_s: float) -> None:
        """Double the bins until they reach a time. [s]"""
        while self.width_s * BINS <= time_s:
            self.width_s *= 2.0
            pairs = self.sums.reshape(len(COLUMNS), BINS // 2, 2).sum(axis=2)
            self.sums = np.concatenate((pairs, np.zeros_like(pairs)), axis=1)

    def plus(self, other: Series) -> Series:
        """Return the sums of two engines over the same time."""
        both = Series()
        both.widen(max(self.width_s, other.width_s) * (BINS - 1))
        for part in (self, other):
            part.widen(both.width_s * (BINS - 1))
            both.sums = both.sums + part.sums
        return both
