"""The clock of one engine, and the rows of steps it has passed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fitcalc.simulation.diary import Diary
from fitcalc.simulation.law import StepLaw
from fitcalc.units import Array


class Steps(NamedTuple):
    """``length`` steps in a row of the same sequences; the context grows by ``decodes`` a step."""

    length: int
    decodes: int
    context: int
    prefill_tokens: int
    prefill_work: float
    prefills: int


class Row(NamedTuple):
    """A row of steps and what was held meanwhile.

    Attributes:
        steps: The steps.
        start_s: When the first began. [s]
        end_s: When the last ended. [s]
        felt: Sequences for which each step was the gap between two tokens. [1]
        running: Sequences that were computed. [1]
        blocks_first, blocks_last: Blocks held in the first and the last step. [1]
    """

    steps: Steps
    start_s: float
    end_s: float
    felt: int
    running: int
    blocks_first: int
    blocks_last: int


class Timeline:
    """When steps begin and end.

    Attributes:
        now_s: End of the last step, or the time waited to. [s]
        previous_start_s: When the last step began. [s]
        steps: The rows of steps passed, where they are kept.
    """

    __slots__ = ("_busy", "_diary", "_law", "_starts_s", "now_s", "previous_start_s", "steps")

    def __init__(self, law: StepLaw, diary: Diary, *, keep_steps: bool) -> None:
        """Start the clock at 0 s."""
        self._law, self._diary = law, diary
        self.steps: list[Steps] | None = [] if keep_steps else None
        self._starts_s: list[float] = []
        self.now_s = 0.0
        self.previous_start_s = 0.0
        self._busy = False

    def pass_row(self, steps: Steps, felt: int, running: int, first: int, last: int) -> float:
        """Let steps pass; return the end of the last one. [s]"""
        start, law = self.now_s, self._law
        length, decodes, context, tokens, work, prompts = steps
        if tokens:
            end = start + law.mixed_s(decodes, context, tokens, work, prompts)
            self.previous_start_s = start
        else:
            end = start + law.decode_s(decodes, context, length)
            self.previous_start_s = start
            if length > 1:
                last_s = law.decode_s(decodes, context + decodes * (length - 1), 1)
                self.previous_start_s = end - last_s
        self.now_s = end
        self._busy = True
        self._diary.write(Row(steps, start, end, felt, running, first, last))
        if self.steps is not None:
            self.steps.append(steps)
            self._starts_s.append(start)
        return end

    def steps_before(self, came_s: float, most: int, decodes: int, context: int, ahead: int) -> int:
        """Count the decode-only steps, one to ``most``, scheduled before ``came_s``. [1]

        The first is scheduled as the last one ended, or began if ``ahead``; it is certain.
        """
        span = came_s - self.now_s
        if span <= 0.0:
            return 1
        if ahead:  # step j is scheduled as step j - 2 ends
            return min(most, 1 + self._law.steps_in(decodes, context, span, most))
        return self._law.steps_in(decodes, context, span, most)

    def wait_until(self, time_s: float) -> None:
        """Let an idle engine's clock run."""
        self.now_s = max(self.now_s, time_s)
        self._busy = False

    def rest(self) -> None:
        """Say that no step is in flight: the next one is scheduled at ``now_s``."""
        self._busy = False

    def decided_s(self, *, ahead: bool) -> float:
        """When the next step is scheduled: as the last one ends, or begins if ``ahead``. [s]"""
        return self.previous_start_s if ahead and self._busy else self.now_s

    def durations_s(self) -> Array:
        """Duration of every step that was kept. [s]"""
        rows = np.array(self.steps or np.zeros((0, 6)), dtype=np.float64)
        counts = rows[:, 0].astype(np.int64)
        _, decodes, context, tokens, _, _ = np.repeat(rows, counts, axis=0).T
        ahead = np.arange(len(decodes)) - np.repeat(np.cumsum(counts) - counts, counts)
        durations = self._law.durations_s(decodes, context + decodes * ahead)
        mixed = self._law.mixed_s
        durations[tokens > 0] = [
            mixed(int(d), int(c), int(p), w, int(n)) for _, d, c, p, w, n in rows[rows[:, 3] > 0]
        ]
        return durations

    def ends_s(self) -> Array:
        """End of every step that was kept. [s]"""
        durations = self.durations_s()
        counts = np.array([steps.length for steps in self.steps or ()], dtype=np.int64)
        passed = np.cumsum(durations)
        first = np.cumsum(counts) - counts
        before = passed[first] - durations[first] if len(first) else passed
        ends: Array = passed + np.repeat(np.array(self._starts_s) - before, counts)
        return ends
