"""Fit what serving adds to kernels timed alone: ``calibration/results/engine.toml``.

``fitcalc calibrate --runs DIR``, where DIR holds e2e_vllm.csv and e2e_settings.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcalc.calibrate.rebuild import RESULTS, write
from fitcalc.calibrate.results import DIGITS
from fitcalc.calibrate.runs import read_runs
from fitcalc.calibrate.serving import Runs, schedules, tabled
from fitcalc.calibrate.solve import AT_BOUND, robust_standard_error
from fitcalc.errors import TableError
from fitcalc.physics.host import Serving
from fitcalc.units import Array, to_base

ROUNDS = 2
"""Fits, each on the schedules of the coefficients before; a third is no better. [1]"""
ROBUST_SCALE = 0.02
"""Relative error beyond which a run counts less: nearly a mean absolute error, which a few runs on
a slow machine cannot pull. [1]"""
STARTS = Serving(
    step=1e-4, sequence=1e-5, prompt=3e-3, chunk=4e-8, flop=3e-16, frontend=1e-2, token=4e-6,
    skew=9e-6, floor=0.4,
)  # fmt: skip
UNITS = ("ms", "us", "ms", "us", "fs", "ms", "us", "us", "1")
SOURCE = "InferenceX serving runs, as in aiconfigurator-core 0.12.0's silicon sample"
HEADER = "# What serving adds to kernels. Written by `fitcalc calibrate --runs`.\n"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Coefficients, their standard errors (nan at a bound), and how well they do.

    Attributes:
        values: The coefficients in base units.
        errors: Their standard errors.
        n: Runs. [1]
        tpot_error: Mean of abs(predicted / measured - 1) of TPOT. [1]
        ttft_error: The same of TTFT. [1]
    """

    values: Serving
    errors: Serving
    n: int
    tpot_error: float
    ttft_error: float


def fit_serving(table: Runs, chosen: Mask | None = None) -> Fitted:
    r"""Fit the coefficients to chosen runs.

    Minimises $\sum \rho(\ln \hat T - \ln T) + \rho(\ln \hat F - \ln F)$ over TPOT and TTFT with
    the soft-L1 loss.

    Args:
        table: The runs.
        chosen: Which of them to fit to; all if not given.

    Raises:
        TableError: there are fewer runs than coefficients.
    """
    from scipy.optimize import least_squares  # noqa: PLC0415 - slow to import, used only here

    rows = np.ones(len(table.runs), dtype=bool) if chosen is None else chosen
    if rows.sum() <= len(Serving._fields):
        raise TableError(f"runs: {rows.sum()} cannot fix {len(Serving._fields)} coefficients.")
    measured = np.stack(table.measured)
    scales, free = np.array(STARTS), _free(table, rows)

    def given(x: Array) -> Serving:
        whole = np.zeros(len(scales))
        whole[free] = x * scales[free]
        return Serving(*whole.tolist())

    def residuals(x: Array) -> Array:
        return np.asarray(np.log(np.stack(table.predicted(given(x))) / measured)[:, rows].ravel())

    top = np.array(_TOP)[free]
    solved = least_squares(
        residuals, np.ones(len(top)), bounds=(0.0, top), loss="soft_l1", f_scale=ROBUST_SCALE
    )
    x = np.asarray(solved.x)
    inside = (x > AT_BOUND) & (top - x > AT_BOUND)
    spread = np.full(len(x), np.nan)
    spread[inside] = robust_standard_error(
        np.asarray(solved.jac)[:, inside], residuals(x), ROBUST_SCALE
    )
    errors = np.full(len(scales), np.nan)
    errors[free] = spread * scales[free]
    off = np.abs(np.stack(table.predicted(given(x))) / measured - 1.0)[:, rows].mean(axis=1)
    return Fitted(
        given(x), Serving(*errors.tolist()), int(rows.sum()), float(off[0]), float(off[1])
    )


_TOP = Serving(*(np.inf for _ in Serving._fields))._replace(floor=1.0 / STARTS.floor)


def _free(table: Runs, rows: Mask) -> Mask:
    """Which coefficients these runs can say: of synchronous steps nothing if none ran so."""
    free = np.ones(len(Serving._fields), dtype=bool)
    kept = [run for run, here in zip(table.runs, rows, strict=True) if here]
    free[Serving._fields.index("step")] = not all(r.setup.engine.async_scheduling for r in kept)
    return free


def to_toml(fit: Fitted) -> str:
    """Write the coefficients with standard errors, number of runs and residuals."""
    lines = [HEADER + "[serving]"]
    for name, value, error, unit in zip(
        Serving._fields, fit.values, fit.errors, UNITS, strict=True
    ):
        one = to_base(1.0, unit)
        cells = f'value = {value / one:.{DIGITS}g}, unit = "{unit}", source = "runs"'
        lines.append(f"{name} = {{ {cells}, standard_error = {error / one:.2g}, n = {fit.n} }}")
    lines += [
        "",
        "[sources.runs]",
        f'title = "{SOURCE}"',
        f"tpot_error = {fit.tpot_error:.3f}",
        f"ttft_error = {fit.ttft_error:.3f}",
    ]
    return "\n".join(lines) + "\n"


def rebuild_serving(folder: Path, told: Callable[[float], None] | None = None) -> Fitted:
    """Fit to every run of a folder, on the kernels' results as they stand, and write the result.

    Args:
        folder: Holds e2e_vllm.csv and e2e_settings.csv.
        told: Is told the share that is done.
    """
    runs = read_runs(folder)
    values = STARTS
    for done in range(1, ROUNDS + 1):
        fit = fit_serving(tabled(runs, schedules(runs, values)))
        values = fit.values
        if told:
            told(done / ROUNDS)
    write(RESULTS / "engine.toml", to_toml(fit))
    return fit
