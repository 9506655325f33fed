"""How far predictions lie from measured runs, by class: what the intervals are made of.

The figures live in ``calibration/results/accuracy.toml``; ``fitcalc validate --write`` makes them
of runs that the fit did not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, cast

from fitcalc.answers import Calibrated
from fitcalc.catalog.tables import figure, read_toml


class Spread(NamedTuple):
    """Measured over predicted, the ends of an interval that holds 80 % of runs. [1]"""

    low: float
    high: float


@cache
def spread(metric: str, calibrated: Calibrated, *, is_moe: bool) -> Spread:
    """Return the spread of a metric (``ttft`` or ``tpot``) for a class of predictions.

    Kernels that a user measured count as measured: no serving run was left out to say more.
    """
    table = read_toml("calibration", "results", "accuracy.toml")
    sources = cast("Mapping[str, object]", table["sources"])
    family = "moe" if is_moe else "dense"
    rows = cast("Mapping[str, Mapping[str, Mapping[str, object]]]", table[metric])
    kind = Calibrated.MEASURED if calibrated is Calibrated.OWN else calibrated
    cells = rows[kind.value][family]
    where = f"accuracy.{metric}.{kind.value}.{family}"
    return Spread(*(figure(cells[end], f"{where}.{end}", sources).value for end in ("low", "high")))
