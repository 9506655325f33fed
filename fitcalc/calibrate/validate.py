"""Predict measured runs in every way that says how far off a prediction may be.

Every run is predicted as its server was driven: with the coefficients of serving as they are in the
tables, and with coefficients fitted without the run: without its fold, its model, or its GPU.
Classes of predictions without measured kernels are made by taking a relative's kernels, or the
pooled ones, for a measured GPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Calibrated, Prediction, Rejection
from fitcalc.calibrate.host import Mask, fit_serving
from fitcalc.calibrate.runs import Run
from fitcalc.calibrate.serving import Runs, schedules, tabled
from fitcalc.catalog.gpu import Gpu
from fitcalc.physics.host import serving
from fitcalc.planning.server import closed_form, ledger_of
from fitcalc.units import MILLI, Array

METRICS = ("tpot", "ttft")
FOLDS = 5
SEED = 0
SCHEDULING = 0.7
"""Share of the work that is simulating schedules. [1]"""
RELATIVE = {
    "h100_sxm": "h200_sxm", "h200_sxm": "h100_sxm", "b200_sxm": "b300_sxm", "b300_sxm": "b200_sxm",
}  # fmt: skip
"""Whose kernels a GPU of the runs would borrow had it not been measured."""
DISTANT = {
    "h100_sxm": "b200_sxm", "h200_sxm": "b200_sxm", "b200_sxm": "h200_sxm", "b300_sxm": "h200_sxm",
}  # fmt: skip
"""A GPU of another generation."""


class Without(StrEnum):
    """What a fit did not see of a run that it predicts."""

    FOLD = "folds"
    MODEL = "models"
    GPU = "GPUs"


class Ratios(NamedTuple):
    """Predicted over measured of every run, TPOT and TTFT; NaN where not predicted. [1]"""

    tpot: Array
    ttft: Array


Names = NDArray[np.str_]
Tables = Mapping[Calibrated, tuple[Runs, ...]]
"""The runs as each class of predictions has them; a class may be made in several ways."""
Classes = Mapping[Calibrated, tuple[Ratios, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """Predicted over measured of every run.

    Attributes:
        runs: The runs.
        tables: The same as each class of predictions has them.
        groups: The name of each run's fold, model and GPU.
        shipped: With serving's coefficients as they are in the tables.
        closed_form: The same without simulating anything.
        without: With coefficients that have not seen a run's fold, model or GPU; nothing where
            all runs are of one model or one GPU.
    """

    runs: Sequence[Run]
    tables: Tables
    groups: Mapping[Without, Names]
    shipped: Ratios
    closed_form: Ratios
    without: Mapping[Without, Classes]

    @property
    def is_moe(self) -> Mask:
        """Which runs are of a mixture of experts."""
        return np.array([run.setup.model.is_moe for run in self.runs])

    def ways(self) -> Mapping[str, Ratios]:
        """Return the predictions with measured kernels by what their fit has not seen."""
        if not self.without:
            return {"shipped": self.shipped}
        return {by.value: found[Calibrated.MEASURED][0] for by, found in self.without.items()}


def validate(runs: Sequence[Run], told: Callable[[float], None] | None = None) -> Validation:
    """Predict every run in every way that there are runs for.

    Args:
        runs: What was measured.
        told: Is told the share that is done.
    """
    groups = {
        Without.FOLD: folds(runs),
        Without.MODEL: np.array([run.model for run in runs]),
        Without.GPU: np.array([run.gpu for run in runs]),
    }
    apart = all(len(np.unique(groups[by])) > 1 for by in (Without.MODEL, Without.GPU))
    laid = schedules(runs, serving(), told and (lambda share: told(share * SCHEDULING)))
    own = tabled(runs, laid)

    def borrowing(relatives: Mapping[str, str]) -> Runs:
        return tabled(runs, laid, [_unmeasured(run.setup.gpu, relatives) for run in runs])

    tables = {
        Calibrated.MEASURED: (own,),
        Calibrated.TRANSFERRED: (borrowing(RELATIVE),),
        Calibrated.DATASHEET: (borrowing({}), borrowing(DISTANT)),
    }
    return Validation(
        runs=runs,
        tables=tables,
        groups=groups,
        shipped=_ratios(own, own.predicted(serving())),
        closed_form=_ratios(own, _in_closed_form(runs)),
        without={by: left_out(tables, names) for by, names in groups.items() if apart},
    )


def folds(runs: Sequence[Run], count: int = FOLDS, seed: int = SEED) -> Names:
    """Deal the runs into folds; loads of one server and one mix of lengths stay together.

    Runs that differ in nothing but the number of clients lie on one smooth curve: dealt singly,
    each would be told by its neighbours.
    """
    kinds = [
        f"{run.model} {run.gpu} {run.precision} {run.setup.engine.tensor_parallel_size} "
        f"{run.setup.engine.enable_expert_parallel} {lengths(run)}"
        for run in runs
    ]
    _, kind = np.unique(np.array(kinds), return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(kind.max() + 1) % count
    return dealt[kind].astype(np.str_)


def lengths(run: Run) -> tuple[int, int]:
    """Return the longest input and output of a run. [tokens]"""
    return run.traffic.isl.at_most(), run.traffic.osl.at_most()


def as_unmeasured(gpu: Gpu, relative: str | None) -> Gpu:
    """Return a GPU under a name without results: it borrows a relative's, or the pooled ones."""
    return replace(gpu, id=f"{gpu.id}_unmeasured", efficiency_from=relative)


def _unmeasured(gpu: Gpu, relatives: Mapping[str, str]) -> Gpu:
    return as_unmeasured(gpu, relatives.get(gpu.id))


def left_out(tables: Tables, names: Names, within: Mask | None = None) -> Classes:
    """Predict each group of runs with coefficients fitted to all other groups.

    Args:
        tables: The runs as each class has them; measured kernels are what is fitted upon.
        names: The group of each run.
        within: The runs that there are; all if not given. The others' ratios are NaN.
    """
    fitted = tables[Calibrated.MEASURED][0]
    here = np.ones(len(names), dtype=bool) if within is None else within
    found = {
        kind: tuple(Ratios(*np.full((2, len(names)), np.nan)) for _ in ways)
        for kind, ways in tables.items()
    }
    for name in np.unique(names[here]):
        mine = here & (names == name)
        values = fit_serving(fitted, here & ~mine).values
        for kind, ways in tables.items():
            for asked, ratios in zip(ways, found[kind], strict=True):
                for whole, part in zip(
                    ratios, _ratios(asked, asked.predicted(values)), strict=True
                ):
                    whole[mine] = part[mine]
    return found


def _in_closed_form(runs: Sequence[Run]) -> tuple[Array, Array]:
    """TPOT and TTFT of each run in closed form; NaN where it has no answer. [s]"""
    said = np.full((2, len(runs)), np.nan)
    for i, run in enumerate(runs):
        ledger = ledger_of(run.setup)
        if isinstance(ledger, Rejection):
            continue
        answer = closed_form(run.setup, ledger, run.traffic)
        if isinstance(answer, Prediction):
            said[:, i] = answer.tpot_ms.mean * MILLI, answer.ttft_ms.mean * MILLI
    return said[0], said[1]


def _ratios(table: Runs, predicted: tuple[Array, Array]) -> Ratios:
    tpot, ttft = table.measured
    return Ratios(predicted[0] / tpot, predicted[1] / ttft)
