"""What one engine did, summed up as it goes, so that memory does not grow with the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fitcalc.simulation.gaps import Gaps
from fitcalc.simulation.law import StepLaw
from fitcalc.simulation.series import Series
from fitcalc.units import Array

if TYPE_CHECKING:
    from fitcalc.simulation.timeline import Row

_ROWS = 4096
"""Rows kept before they are summed up. [1]"""
_CONTEXTS = 32


class Diary:
    """Sums over the steps of one engine.

    Attributes:
        gaps: Gaps between output tokens.
        series: Batch, KV blocks and tokens over time.
        busy_s: Time in steps. [s]
        running_s: Running sequences summed over time. [s]
        blocks_s: KV blocks held summed over time. [s]
        blocks_peak: Most KV blocks held. [1]
        computed_tokens: Tokens computed, prompts computed again included. [tokens]
        decoded: Output tokens of decode-only steps, by the mean context's power of two. [tokens]
        decoded_s: Time of those steps. [s]
    """

    def __init__(self, law: StepLaw) -> None:
        """Open an empty diary."""
        self._law = law
        self._rows: list[Row] = []
        self._single: list[float] = []
        self._preempted: list[float] = []
        self.gaps = Gaps()
        self.series = Series()
        self.busy_s = self.running_s = self.blocks_s = 0.0
        self.blocks_peak = 0
        self.computed_tokens = 0
        self.decoded: Array = np.zeros(_CONTEXTS)
        self.decoded_s: Array = np.zeros(_CONTEXTS)

    def write(self, row: Row) -> None:
        """Take note of a row of steps."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self.close()

    def gap(self, gap_s: float) -> None:
        """Take note of one gap between two tokens that is not one step."""
        self._single.append(gap_s)

    def preempted(self, time_s: float, count: int) -> None:
        """Take note of requests that lost their blocks."""
        self._preempted.extend([time_s] * count)

    def close(self) -> None:
        """Sum up what has been written."""
        if self._single:
            self.gaps.add(np.array(self._single), np.ones(len(self._single)))
            self._single = []
        if not self._rows:
            return
        steps = np.array([row.steps for row in self._rows], dtype=np.float64)
        held = np.array([row[1:] for row in self._rows], dtype=np.float64)
        self._rows = []
        length, decodes, context, tokens = steps[:, :4].T
        start, end, felt, running, first, last = held.T
        lasting = end - start
        blocks = (first + last) / 2.0
        self.busy_s += float(lasting.sum())
        self.running_s += float(running @ lasting)
        self.blocks_s += float(blocks @ lasting)
        self.blocks_peak = max(self.blocks_peak, int(last.max()), int(first.max()))
        self.computed_tokens += int(decodes @ length + tokens.sum())
        many = length > 1.0
        self._add_gaps(length[many], decodes[many], context[many], felt[many])
        one = ~many & (felt > 0)
        self.gaps.add(lasting[one], felt[one])
        plain = (tokens == 0) & (decodes > 0)
        bucket = np.log2(context[plain] / decodes[plain]).astype(np.int64)
        made = (decodes * length)[plain]
        self.decoded += np.bincount(bucket, made, _CONTEXTS)
        self.decoded_s += np.bincount(bucket, lasting[plain], _CONTEXTS)
        sums = np.stack((lasting, running * lasting, blocks * lasting, decodes * length, tokens))
        self.series.add(start, end, sums, np.array(self._preempted))
        self._preempted = []

    def _add_gaps(self, length: Array, decodes: Array, context: Array, felt: Array) -> None:
        """Write the steps of rows out one by one."""
        counts = length.astype(np.int64)
        ahead = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        batch = np.repeat(decodes, counts)
        durations = self._law.durations_s(batch, np.repeat(context, counts) + batch * ahead)
        self.gaps.add(durations, np.repeat(felt, counts))
