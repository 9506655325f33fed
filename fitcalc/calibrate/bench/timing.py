"""How long a call takes: the median of many, each on operands that no cache holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, cast

import numpy as np
import torch

from fitcalc.calibrate.bench.rows import Sample
from fitcalc.units import KILO

Call = Callable[[], object]


class Timer(Protocol):
    """A clock for one device."""

    def time(self, calls: Sequence[Call], *, replay: bool = True) -> Sample:
        """Time calls that do the same on different operands; replayed as a graph if asked."""
        ...


@dataclass(frozen=True, slots=True)
class Effort:
    """How long one row is timed.

    Attributes:
        sample_s: Least time of one sample, so that the clock's grain does not count. [s]
        total_s: Time of all samples, within ``least`` and ``most`` of them. [s]
        least: Fewest samples. [1]
        most: Most samples. [1]
    """

    sample_s: float = 1e-3
    total_s: float = 0.06
    least: int = 7
    most: int = 50

    def rounds(self, pass_s: float) -> int:
        """Passes over the calls in one sample. [1]

        Examples:
            >>> Effort().rounds(1e-4), Effort().rounds(1.0)
            (10, 1)
        """
        return max(1, math.ceil(self.sample_s / max(pass_s, self.sample_s / LONGEST)))

    def repeats(self, sample_s: float) -> int:
        """Samples to take. [1]

        Examples:
            >>> Effort().repeats(1e-4), Effort().repeats(2e-3), Effort().repeats(1.0)
            (50, 30, 7)
        """
        return min(self.most, max(self.least, round(self.total_s / max(sample_s, 1e-9))))


LONGEST = 1000
"""Most passes in one sample; a graph does not grow beyond it. [1]"""


def summary(samples: Sequence[float], *, replayed: bool) -> Sample:
    """Return the median of samples and their spread."""
    low, middle, high = (float(value) for value in np.percentile(samples, (10, 50, 90)))
    return Sample(middle, (high - low) / middle, len(samples), replayed)


@dataclass(frozen=True, slots=True)
class CpuTimer:
    """Calls on the CPU by the process's clock."""

    effort: Effort = field(default_factory=Effort)

    def time(self, calls: Sequence[Call], *, replay: bool = True) -> Sample:
        """Time the calls one after another; a CPU has no graphs to replay."""
        del replay
        self._passes(calls, 1)
        first = self._passes(calls, 1)
        rounds = self.effort.rounds(first)
        each = rounds * len(calls)
        repeats = self.effort.repeats(first * rounds)
        samples = [self._passes(calls, rounds) / each for _ in range(repeats)]
        return summary(samples, replayed=False)

    @staticmethod
    def _passes(calls: Sequence[Call], rounds: int) -> float:
        start = perf_counter()
        for _ in range(rounds):
            for call in calls:
                call()
        return perf_counter() - start


class Event(Protocol):
    """A mark in a stream."""

    def record(self) -> None:
        """Put the mark behind what was launched."""

    def elapsed_time(self, end: Event) -> float:
        """Time to another mark. [ms]"""
        ...


class Graph(Protocol):
    """Launches that were captured."""

    def replay(self) -> None:
        """Launch them all."""


class Cuda(Protocol):
    """What of ``torch.cuda`` a timer uses."""

    def synchronize(self) -> None:
        """Wait for all that was launched."""

    def Event(self, *, enable_timing: bool) -> Event:  # noqa: N802
        """Make a mark."""
        ...

    def CUDAGraph(self) -> Graph:  # noqa: N802
        """Make an empty graph."""
        ...

    def graph(self, cuda_graph: Graph) -> AbstractContextManager[object]:
        """Capture what is launched."""
        ...


@dataclass(frozen=True, slots=True)
class CudaTimer:
    """Calls on a GPU by events in its stream, replayed as a CUDA graph where that is possible."""

    effort: Effort = field(default_factory=Effort)
    cuda: Cuda = field(default_factory=lambda: cast("Cuda", torch.cuda))

    def time(self, calls: Sequence[Call], *, replay: bool = True) -> Sample:
        """Time the calls; without a graph the host's launches may count too."""
        one_pass = _each(calls)
        one_pass()
        rounds = self.effort.rounds(self._elapsed(one_pass))
        run, replayed = _each(list(calls) * rounds), False
        if replay:
            graph = self._capture(run)
            run, replayed = (run, False) if graph is None else (graph.replay, True)
        self._elapsed(run)
        repeats = self.effort.repeats(self._elapsed(run))
        each = rounds * len(calls)
        return summary([self._elapsed(run) / each for _ in range(repeats)], replayed=replayed)

    def _capture(self, run: Callable[[], None]) -> Graph | None:
        """Capture a run; None where a kernel waits for the host."""
        graph = self.cuda.CUDAGraph()
        try:
            with self.cuda.graph(graph):
                run()
        except RuntimeError:
            self.cuda.synchronize()
            return None
        return graph

    def _elapsed(self, run: Callable[[], None]) -> float:
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.cuda.synchronize()
        start.record()
        run()
        end.record()
        self.cuda.synchronize()
        return start.elapsed_time(end) / KILO


def _each(calls: Sequence[Call]) -> Callable[[], None]:
    def run() -> None:
        for call in calls:
            call()

    return run
