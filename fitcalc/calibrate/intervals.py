"""Intervals made of how far left-out runs lie from their predictions, and how often they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fitcalc.answers import Calibrated
from fitcalc.calibrate.host import Mask
from fitcalc.calibrate.validate import (
    METRICS,
    Classes,
    Names,
    Ratios,
    Validation,
    Without,
    left_out,
)
from fitcalc.units import Array

LEVEL = 0.8
"""Share of new runs that an interval is to hold. [1]"""
FAMILIES = {False: "dense", True: "moe"}
TITLE = "runs of InferenceX that the fit did not see, as in aiconfigurator-core 0.12.0's sample"


class Class(NamedTuple):
    """A class of predictions, which share one interval."""

    metric: str
    calibrated: Calibrated
    is_moe: bool


class Width(NamedTuple):
    """The interval of a class: measured lies within predicted * exp(-half) to exp(half).

    Attributes:
        half: Half its width in the logarithm. [1]
        n: Residuals it is made of. [1]
    """

    half: float
    n: int

    @property
    def low(self) -> float:
        """Measured over predicted at the lower end. [1]"""
        return math.exp(-self.half)

    @property
    def high(self) -> float:
        """Measured over predicted at the upper end. [1]"""
        return math.exp(self.half)


def half_width(residuals: Array, cells: Names, level: float = LEVEL) -> float:
    r"""Half the width of the interval that holds a run of a server that nobody measured. [1]

    Runs of one model on one GPU (a cell) miss alike. With $K$ cells of residuals $e$, each cell
    counting once, a new cell's run misses by a variance between cells and one within:

    $$B = \frac1K \sum_c \bar e_c^2, \quad W = \frac1K \sum_c s_c^2, \quad
      h = t_\nu \sqrt{B + W}, \quad \nu = \frac{(B + W)^2}{B^2/K + W^2/(n - K)}$$

    $B$ is taken about 0, as predictions are not shifted by their bias. $t_\nu$ is Student's, with
    Satterthwaite's degrees of freedom: few where the cells differ, many where they are alike.

    Args:
        residuals: ln(measured / predicted). [1]
        cells: The cell of each.
        level: Share that the interval is to hold. [1]

    References:
        F. E. Satterthwaite, "An approximate distribution of estimates of variance components",
        Biometrics Bulletin 2(6), 1946. Prediction in the one-way random model: S. R. Searle,
        G. Casella, C. E. McCulloch, "Variance Components", 1992, chapter 3.

    Examples:
        >>> cells = np.array(["a", "a", "b", "b"])
        >>> alike, apart = np.array([-0.1, 0.1, -0.1, 0.1]), np.array([-0.1, -0.1, 0.1, 0.1])
        >>> round(half_width(alike, cells), 3), round(half_width(apart, cells), 3)
        (0.189, 0.189)
        >>> many = np.repeat(cells, 20)
        >>> round(half_width(np.tile(alike, 20), many), 3)
        0.129
        >>> round(half_width(np.repeat(apart, 20), many), 3)
        0.189
    """
    from scipy.stats import t  # noqa: PLC0415 - slow to import, used only here

    groups = [residuals[cells == cell] for cell in np.unique(cells)]
    count = len(groups)
    between = float(np.mean([group.mean() ** 2 for group in groups]))
    within = float(np.mean([group.var() for group in groups]))
    free = max(len(residuals) - count, 1)
    degrees = (between + within) ** 2 / (between**2 / count + within**2 / free)
    return float(t.ppf((1.0 + level) / 2.0, degrees)) * math.sqrt(between + within)


def widths(found: Validation, within: Mask | None = None) -> Mapping[Class, Width]:
    """Return the interval of every class, never narrower than that of a class better known.

    Args:
        found: The runs.
        within: The runs that there are; coefficients and intervals come from these alone.
    """
    here = np.ones(len(found.runs), dtype=bool) if within is None else within
    seen = found.without if within is None else {
        by: left_out(found.tables, found.groups[by], here) for by in (Without.MODEL, Without.GPU)
    }  # fmt: skip
    cells = np.char.add(found.groups[Without.MODEL], found.groups[Without.GPU])
    made = {}
    for metric in METRICS:
        for is_moe in FAMILIES:
            family = here & (found.is_moe == is_moe)
            mine = family if family.any() else here  # a family without runs takes the other's
            half = 0.0
            for kind in found.tables:
                values = [-np.log(getattr(way, metric)[mine]) for way in _ways(seen, kind)]
                every = np.tile(cells[mine], len(values))
                half = max(half, half_width(np.concatenate(values), every))
                made[Class(metric, kind, is_moe)] = Width(half, len(every))
    return made


def _ways(without: Mapping[Without, Classes], kind: Calibrated) -> list[Ratios]:
    """Return the left-out predictions that stand for a class."""
    if kind is Calibrated.MEASURED:
        return [*without[Without.MODEL][kind], *without[Without.GPU][kind]]
    return list(without[Without.GPU][kind])


def coverage(found: Validation, by: Without) -> Mapping[Class, float]:
    """Share of each class's runs inside intervals that have seen nothing of their group. [1]

    Neither the coefficients that predict a run, nor the residuals that make its interval, nor the
    coefficients of those residuals have seen a run of its model (or GPU).
    """
    names = found.groups[by]
    inside = {
        key: np.zeros((len(found.tables[key.calibrated]), len(names)), dtype=bool)
        for key in (Class(m, kind, moe) for m in METRICS for moe in FAMILIES
                    for kind in found.tables)
    }  # fmt: skip
    for name in np.unique(names):
        mine = names == name
        for key, width in widths(found, ~mine).items():
            ways = found.without[by][key.calibrated]
            off = np.stack([np.abs(np.log(getattr(way, key.metric))) for way in ways])
            inside[key] |= mine & (off <= width.half)
    return {
        key: float(held[:, found.is_moe == key.is_moe].mean()) for key, held in inside.items()
        if (found.is_moe == key.is_moe).any()
    }  # fmt: skip


def to_toml(made: Mapping[Class, Width]) -> str:
    """Write the ends of measured over predicted, by metric, class and family."""
    lines = ["# Measured over predicted. Written by `fitcalc validate --write`."]
    for key, width in made.items():
        cells = f'unit = "1", source = "left_out", n = {width.n}'
        lines += [
            f"\n[{key.metric}.{key.calibrated.value}.{FAMILIES[key.is_moe]}]",
            f"low = {{ value = {width.low:.3f}, {cells} }}",
            f"high = {{ value = {width.high:.3f}, {cells} }}",
        ]
    return "\n".join([*lines, "", "[sources.left_out]", f'title = "{TITLE}"']) + "\n"
