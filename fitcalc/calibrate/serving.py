"""Latencies of measured runs as functions of serving's few coefficients, quick enough to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.calibrate.runs import Run
from fitcalc.calibrate.schedule import Points, points
from fitcalc.catalog.gpu import Gpu
from fitcalc.physics.build import step_model
from fitcalc.physics.host import Serving
from fitcalc.physics.step import StepModel
from fitcalc.units import Array

LINEAR = ("step", "sequence", "prompt", "chunk", "flop", "skew", "floor")
"""Coefficients of a step; its time is linear in them."""
NOTHING = Serving(*(0.0 for _ in Serving._fields))


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Many runs as arrays: a row a run, a column a coefficient. [s]

    Attributes:
        runs: The runs themselves.
        tpot: TPOT with all coefficients 0.
        ttft: TTFT, front end apart, with all coefficients 0.
        tpot_slope: TPOT's slope in each coefficient of ``LINEAR``.
        ttft_slope: TTFT's slope in each.
        tokens_ahead: Prompt tokens a request waits to be tokenized.
    """

    runs: Sequence[Run]
    tpot: Array
    ttft: Array
    tpot_slope: Array
    ttft_slope: Array
    tokens_ahead: Array

    @property
    def measured(self) -> tuple[Array, Array]:
        """Measured TPOT and TTFT. [s]"""
        return np.array([r.tpot_s for r in self.runs]), np.array([r.ttft_s for r in self.runs])

    def predicted(self, given: Serving) -> tuple[Array, Array]:
        """TPOT and TTFT under given coefficients. [s]"""
        linear = np.array([getattr(given, name) for name in LINEAR])
        tpot = self.tpot + self.tpot_slope @ linear
        ttft = self.ttft + self.ttft_slope @ linear
        return tpot, ttft + given.frontend + given.token * self.tokens_ahead


def step_of(run: Run, given: Serving, gpu: Gpu | None = None) -> StepModel:
    """Return a run's step law under given coefficients, as on another GPU's kernels if asked."""
    setup = run.setup
    return step_model(
        setup.model, [gpu or setup.gpu], setup.weight, setup.kv, setup.split,
        engine=setup.engine, fitted=given,
    )  # fmt: skip


def schedules(
    runs: Sequence[Run], given: Serving, told: Callable[[float], None] | None = None
) -> list[Points]:
    """Simulate every run under given coefficients; ``told`` is told the share that is done."""
    laid = []
    for done, run in enumerate(runs, start=1):
        laid.append(points(run, step_of(run, given)))
        if told:
            told(done / len(runs))
    return laid


def tabled(runs: Sequence[Run], laid: Sequence[Points], gpus: Sequence[Gpu] | None = None) -> Runs:
    """Turn runs with their schedules into arrays, as on other GPUs' kernels if given."""
    cards = gpus or [run.setup.gpu for run in runs]
    rows = [_row(run, at, gpu) for run, at, gpu in zip(runs, laid, cards, strict=True)]
    tpot, ttft, tpot_slope, ttft_slope = (np.array(column) for column in zip(*rows, strict=True))
    ahead = np.array([at.tokens_ahead for at in laid])
    return Runs(runs, tpot, ttft, tpot_slope, ttft_slope, ahead)


def _row(run: Run, at: Points, gpu: Gpu) -> tuple[float, float, Array, Array]:
    weights = np.stack((at.tpot_weight, at.ttft_weight))

    def means(given: Serving) -> Array:
        return np.asarray(weights @ step_of(run, given, gpu).step_s(*at.work.T))

    bare = means(NOTHING)
    slopes = np.stack([means(NOTHING._replace(**{name: 1.0})) - bare for name in LINEAR])
    return float(bare[0]), float(bare[1]), slopes[:, 0], slopes[:, 1]
