"""Latencies of measured runs as functions of serving's few coefficients, quick enough to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.calibrate.runs import Run
from fitcalc.calibrate.schedule import Points, points
from fitcalc.catalog.gpu import Gpu
from fitcalc.physics.build import step_model
from fitcalc.physics.host import Serving, serving
from fitcalc.physics.step import StepModel
from fitcalc.units import Array

CLOCKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Values at which device times are taken; between them they are a straight line. [1]"""
LINEAR = ("step", "sequence", "prompt", "chunk", "skew")
"""Coefficients that a step's time is linear in."""
NOTHING = Serving(
    step=0.0, sequence=0.0, prompt=0.0, chunk=0.0, frontend=0.0, token=0.0, skew=0.0, clock=1.0
)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Many runs as arrays: a row a run, a column a clock or a coefficient. [s]

    Attributes:
        runs: The runs themselves.
        tpot: TPOT at each clock with all other coefficients 0.
        ttft: TTFT at each clock, front end apart, with all other coefficients 0.
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
        at = np.interp(given.clock, CLOCKS, np.arange(len(CLOCKS)))
        low = min(int(at), len(CLOCKS) - 2)
        high = at - low

        def between(table: Array) -> Array:
            return table[:, low] * (1.0 - high) + table[:, low + 1] * high

        tpot = between(self.tpot) + self.tpot_slope @ linear
        ttft = between(self.ttft) + self.ttft_slope @ linear
        return tpot, ttft + given.frontend + given.token * self.tokens_ahead


def step_of(run: Run, given: Serving, gpu: Gpu | None = None) -> StepModel:
    """Return a run's step law under given coefficients, as on another GPU's kernels if asked."""
    setup = run.setup
    step = step_model(
        setup.model, [gpu or setup.gpu], setup.weight, setup.kv, setup.split,
        engine=setup.engine,
    )  # fmt: skip
    host = step.host._replace(
        step_s=given.step, sequence_s=given.sequence, prompt_s=given.prompt,
        chunk_s=given.chunk * setup.model.num_hidden_layers,
        frontend_s=given.frontend, token_s=given.token,
    )  # fmt: skip
    law = step.gemms.law
    eta = np.asarray(law.eta_flops) / serving().clock * given.clock
    return replace(
        step,
        host=host,
        links=step.links._replace(skew_s=given.skew),
        gemms=step.gemms._replace(law=law._replace(eta_flops=eta)),
    )


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


def _row(run: Run, at: Points, gpu: Gpu) -> tuple[Array, Array, Array, Array]:
    weights = np.stack((at.tpot_weight, at.ttft_weight))
    bare = np.stack([
        weights @ step_of(run, NOTHING._replace(clock=clock), gpu).step_s(*at.work.T)
        for clock in CLOCKS
    ])  # fmt: skip
    slopes = np.stack([
        weights @ step_of(run, NOTHING._replace(**{name: 1.0}), gpu).step_s(*at.work.T) - bare[-1]
        for name in LINEAR
    ])  # fmt: skip
    return bare[:, 0], bare[:, 1], slopes[:, 0], slopes[:, 1]
