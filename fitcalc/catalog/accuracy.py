"""How far predictions lie from measured runs, by class: what the intervals are made of.

The figures live in ``calibration/results/accuracy.toml``, the runs in ``runs.csv`` beside it;
``fitcalc validate --write`` makes both, of predictions that have not seen what judges them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, cast

from fitcalc.answers import Calibrated
from fitcalc.catalog.tables import figure, read_toml, root
from fitcalc.errors import TableError

SLOW_END = 1.2816
"""Standard deviations of a normal law at the slow end of an interval of 80 %, which 90 % of runs
keep."""


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


class MeasuredRun(NamedTuple):
    """One closed-loop serving run of vLLM, and what is predicted without its model.

    Attributes:
        model: Its name.
        format: Format of its weights.
        gpu: Table id.
        tensor_parallel_size: GPUs of the server. [1]
        isl: Longest input. [tokens]
        osl: Longest output. [tokens]
        clients: Clients that each wait for their answer. [1]
        ttft_ms: Mean time to first token, measured. [ms]
        tpot_ms: Mean time per output token, measured. [ms]
        predicted_ttft_ms: As predicted by coefficients that have seen no run of the model. [ms]
        predicted_tpot_ms: The same of the TPOT. [ms]
    """

    model: str
    format: str
    gpu: str
    tensor_parallel_size: int
    isl: int
    osl: int
    clients: int
    ttft_ms: float
    tpot_ms: float
    predicted_ttft_ms: float
    predicted_tpot_ms: float


@cache
def measured_runs() -> tuple[MeasuredRun, ...]:
    """Return the runs that serving was fitted to, each beside its left-out prediction.

    Source: InferenceX, as collected in aiconfigurator-core 0.12.0 (Apache-2.0).

    Raises:
        TableError: the table is missing or lacks a column.
    """
    path = root().joinpath("calibration", "results", "runs.csv")
    try:
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return tuple(_run(row) for row in rows)
    except (OSError, KeyError, ValueError) as error:
        raise TableError(f"table runs.csv cannot be read: {error}.") from None


def _run(row: Mapping[str, str]) -> MeasuredRun:
    return MeasuredRun(
        model=row["model"],
        format=row["format"],
        gpu=row["gpu"],
        tensor_parallel_size=int(row["tensor_parallel_size"]),
        isl=int(row["isl"]),
        osl=int(row["osl"]),
        clients=int(row["clients"]),
        ttft_ms=float(row["ttft_ms_measured"]),
        tpot_ms=float(row["tpot_ms_measured"]),
        predicted_ttft_ms=float(row["ttft_ms_models"]),
        predicted_tpot_ms=float(row["tpot_ms_models"]),
    )


def slow_factor(metric: str, calibrated: Calibrated, *, is_moe: bool, deviations: float) -> float:
    """How many times longer than predicted a metric is at most, so many deviations out. [1]

    At ``SLOW_END`` it is the end of the interval, a prediction interval of Student's t; elsewhere
    the interval is stretched as a normal law's would be.
    """
    high = spread(metric, calibrated, is_moe=is_moe).high
    return float(max(1.0, high) ** (deviations / SLOW_END))
