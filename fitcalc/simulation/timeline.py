"""The clock: steps are logged first and timed later, many in one call of the step law.

vLLM's schedule looks at the clock only to see who has arrived. Until somebody may have, steps
can be laid down untimed; one vectorised call then times them all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fitcalc.physics.step import StepTimes
from fitcalc.units import Array


class Steps(NamedTuple):
    """``length`` steps in a row of the same sequences; the context grows by ``decodes`` a step."""

    length: int
    decodes: int
    context: int
    prefill_tokens: int
    prefill_work: float
    prefills: int


class Usage(NamedTuple):
    """What was held during a row of steps."""

    running: int
    blocks_first: int
    blocks_last: int


class Timeline:
    """The steps of one engine and when each began and ended.

    Attributes:
        now_s: End of the last timed step, or the time waited to. [s]
        timed: Steps that have a time. [1]
    """

    def __init__(self, model: StepTimes) -> None:
        """Start the clock at 0 s."""
        self._model = model
        self.steps: list[Steps] = []
        self.usage: list[Usage] = []
        self.now_s = 0.0
        self.timed = 0
        self._previous_start_s = 0.0
        self._busy = False
        self._pending: list[Steps] = []
        self._lasting: list[Array] = []
        self._ending: list[Array] = []
        self._first: list[int] = []

    def log(self, steps: Steps, usage: Usage) -> None:
        """Add steps that still have to be timed."""
        self.steps.append(steps)
        self.usage.append(usage)
        self._pending.append(steps)

    def log_timed(self, steps: Steps, usage: Usage) -> None:
        """Add steps whose times were accepted from ``foresee``."""
        self.steps.append(steps)
        self.usage.append(usage)

    def evaluate(self) -> None:
        """Time every step that is logged."""
        if self._pending:
            self.foresee(())

    def foresee(self, ahead: Sequence[Steps]) -> tuple[Array, Array]:
        """Time what is logged and, in the same call, steps that may follow.

        Returns:
            Duration and end of each step that may follow. [s]
        """
        logged = self._pending
        durations = self._durations([*logged, *ahead])
        ends = np.add.accumulate(np.concatenate(([self.now_s], durations)))[1:]
        count = sum(steps.length for steps in logged)
        if count:
            self._pending = []
            self.accept(durations[:count], ends[:count])
        return durations[count:], ends[count:]

    def accept(self, durations: Array, ends: Array) -> None:
        """Take these steps as having happened."""
        if not len(ends):
            return
        self._first.append(self.timed)
        self._lasting.append(durations)
        self._ending.append(ends)
        self.timed += len(ends)
        self._previous_start_s = float(ends[-2]) if len(ends) > 1 else self.now_s
        self.now_s = float(ends[-1])
        self._busy = True

    def wait_until(self, time_s: float) -> None:
        """Let an idle engine's clock run."""
        self.now_s = max(self.now_s, time_s)
        self._busy = False

    def rest(self) -> None:
        """Say that no step is in flight: the next one is scheduled at ``now_s``."""
        self._busy = False

    def decided_s(self, *, ahead: bool) -> float:
        """When the next step is scheduled: as the last one ends, or begins if ``ahead``. [s]"""
        return self._previous_start_s if ahead and self._busy else self.now_s

    def end_s(self, step: int) -> float:
        """End of one timed step. [s]"""
        chunk = bisect_right(self._first, step) - 1
        return float(self._ending[chunk][step - self._first[chunk]])

    def ends_s(self) -> Array:
        """End of every timed step. [s]"""
        return np.concatenate(self._ending) if self._ending else np.zeros(0)

    def durations_s(self) -> Array:
        """Duration of every timed step. [s]"""
        return np.concatenate(self._lasting) if self._lasting else np.zeros(0)

    def _durations(self, steps: Sequence[Steps]) -> Array:
        rows = np.array(steps, dtype=np.float64)
        if len(rows) == 1 and rows[0, 0] == 1.0:
            return np.asarray(self._model.step_s(*rows[:, 1:].T), dtype=np.float64)
        counts = rows[:, 0].astype(np.int64)
        _, decodes, context, tokens, work, prefills = np.repeat(rows, counts, axis=0).T
        firsts = np.cumsum(counts) - counts
        offsets = np.arange(len(decodes)) - np.repeat(firsts, counts)
        return np.asarray(
            self._model.step_s(decodes, context + decodes * offsets, tokens, work, prefills),
            dtype=np.float64,
        )
