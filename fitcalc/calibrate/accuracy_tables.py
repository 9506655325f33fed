"""Errors of predictions on measured runs as tables: by family, load and configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fitcalc.answers import Calibrated
from fitcalc.calibrate.host import Mask
from fitcalc.calibrate.intervals import FAMILIES, Class, coverage, widths
from fitcalc.calibrate.runs import Run
from fitcalc.calibrate.validate import METRICS, Ratios, Validation, Without, lengths
from fitcalc.catalog.accuracy import spread
from fitcalc.physics.build import calibrated
from fitcalc.units import Array

FORMATS = {"fp4": "4 bits", "fp8": "FP8", "int4": "W4A16", "bf16": "BF16"}
BANDS = {8: "up to 8", 64: "9 to 64"}
"""Clients in a run, up to and with the first number."""
MOST = "above 64"
WORDS = {"dense": "dense", "moe": "MoE"}


class Error(NamedTuple):
    """Mean and median of abs(predicted / measured - 1). [1]"""

    mean: float
    median: float


class Row(NamedTuple):
    """Errors of the runs that share some names, by metric and way."""

    names: tuple[str, ...]
    runs: int
    errors: Mapping[tuple[str, str], Error]


class Sheet(NamedTuple):
    """A table of words."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def error(ratios: Array) -> Error:
    """Return the errors of predicted over measured, unanswered runs left out."""
    off = np.abs(ratios[~np.isnan(ratios)] - 1.0)
    return Error(float(off.mean()), float(np.median(off)))


def rows_by(found: Validation, name: Callable[[Run], tuple[str, ...]]) -> list[Row]:
    """Return the errors of runs that share a name, loads and families in order."""
    names = [name(run) for run in found.runs]
    in_order = sorted(range(len(names)), key=lambda i: _place(found.runs[i]))
    ways = found.ways()
    made = []
    for one in dict.fromkeys(names[i] for i in in_order):
        mine = np.array([other == one for other in names])
        errors = {
            (metric, by): error(getattr(way, metric)[mine])
            for metric in METRICS
            for by, way in ways.items()
        }
        made.append(Row(one, int(mine.sum()), errors))
    return made


def _place(run: Run) -> tuple[bool, int, int, int]:
    return (
        run.setup.model.is_moe,
        sum(lengths(run)),
        lengths(run)[1],
        run.traffic.concurrency or 0,
    )


def family(run: Run) -> tuple[str]:
    """Name a run's family."""
    return (WORDS[FAMILIES[run.setup.model.is_moe]],)


def load(run: Run) -> tuple[str, str, str]:
    """Name a run's lengths and clients. [tokens]"""
    isl, osl = lengths(run)
    clients = run.traffic.concurrency or 0
    return str(isl), str(osl), next((w for most, w in BANDS.items() if clients <= most), MOST)


def configuration(run: Run) -> tuple[str, str, str]:
    """Name a run's model, number format and GPU."""
    return run.model, FORMATS.get(run.precision, run.precision), run.gpu


LOAD_HEAD = ("Input", "Output", "Clients")
CONFIGURATION_HEAD = ("Model", "Format", "GPU")


def error_sheets(found: Validation) -> list[Sheet]:
    """Return the errors by family, by load and by configuration."""
    return [
        _sheet("By family", ("Family",), rows_by(found, family)),
        _sheet("By load", ("Family", *LOAD_HEAD), rows_by(found, lambda r: family(r) + load(r))),
        _sheet("By configuration", CONFIGURATION_HEAD, rows_by(found, configuration)),
    ]


def _sheet(title: str, head: tuple[str, ...], rows: Sequence[Row]) -> Sheet:
    ways = [f"{metric.upper()} {by}" for metric, by in rows[0].errors]
    words = [
        (*row.names, str(row.runs), *(_words(one) for one in row.errors.values())) for row in rows
    ]
    return Sheet(title, (*head, "Runs", *ways), words)


def _words(one: Error) -> str:
    return f"{one.mean:.1%}/{one.median:.1%}".replace("%", "")


def methods_sheet(found: Validation) -> Sheet:
    """Return the errors with the shipped tables, and how many runs their intervals hold."""
    ways = {"simulation": found.shipped, "closed form": found.closed_form}
    rows = []
    for is_moe, name in FAMILIES.items():
        mine = found.is_moe == is_moe
        rows += [
            (WORDS[name], way, *(cell for metric in METRICS for cell in (
                _words(error(getattr(ratios, metric)[mine])),
                f"{_inside(found, metric, getattr(ratios, metric))[mine].mean():.0%}",
            )))
            for way, ratios in ways.items() if mine.any()
        ]  # fmt: skip
    head = ("Family", "Method", "TPOT", "TPOT inside", "TTFT", "TTFT inside")
    return Sheet("By method, tables as shipped", head, rows)


def _inside(found: Validation, metric: str, ratios: Array) -> Mask:
    """Which runs lie inside the interval that users get, or will once it is written."""
    made = widths(found) if found.without else {}
    ends = []
    for run in found.runs:
        key = Class(metric, calibrated(run.setup.gpu, run.setup.weight), run.setup.model.is_moe)
        one = made.get(key) or spread(metric, key.calibrated, is_moe=key.is_moe)
        ends.append((one.low, one.high))
    low, high = np.array(ends).T
    over = 1.0 / ratios
    return np.asarray((low <= over) & (over <= high))


def _two(ratios: Ratios, mine: Mask) -> tuple[str, ...]:
    return tuple(_words(error(getattr(ratios, metric)[mine])) for metric in METRICS)


class Held(NamedTuple):
    """The interval of a class, and how often intervals made alike held.

    Attributes:
        low: Measured over predicted at the lower end. [1]
        high: The same at the upper end. [1]
        other_models: Share of runs of a model left out that lay inside. [1]
        other_gpus: Share of runs on a GPU left out that lay inside. [1]
    """

    low: float
    high: float
    other_models: float
    other_gpus: float


def held(found: Validation) -> Mapping[Class, Held]:
    """Return each class's interval and its coverage on left-out models and GPUs."""
    models, gpus = (coverage(found, by) for by in (Without.MODEL, Without.GPU))
    return {
        key: Held(width.low, width.high, models[key], gpus[key])
        for key, width in widths(found).items()
        if key in gpus
    }


def class_sheets(found: Validation, holding: Mapping[Class, Held]) -> list[Sheet]:
    """Return the errors, and the intervals with their coverage, of each class of predictions."""
    kinds = [(kind, m, WORDS[name]) for kind in found.tables for m, name in FAMILIES.items()
             if (found.is_moe == m).any()]  # fmt: skip
    errors, spans = [], []
    for kind, is_moe, name in kinds:
        ways = found.without[Without.GPU][kind]
        mine = found.is_moe == is_moe
        joined = Ratios(*(np.concatenate([getattr(w, m)[mine] for w in ways]) for m in METRICS))
        errors.append((kind.value, name, *_two(joined, np.ones(len(joined.tpot), dtype=bool))))
        spans.append((kind.value, name, *_spans(holding, kind, is_moe=is_moe)))
    shares = ("holds, models", "holds, GPUs")
    spans_head = [
        f"{m.upper()}{word}" for m in METRICS for word in ("", *(f" {s}" for s in shares))
    ]
    return [
        Sheet("By class, GPU left out", ("Class", "Family", "TPOT", "TTFT"), errors),
        Sheet("Intervals of 80 %", ("Class", "Family", *spans_head), spans),
    ]


def _spans(holding: Mapping[Class, Held], kind: Calibrated, *, is_moe: bool) -> list[str]:
    cells = []
    for metric in METRICS:
        one = holding[Class(metric, kind, is_moe)]
        cells += [
            f"{one.low - 1.0:+.0%} to {one.high - 1.0:+.0%}", f"{one.other_models:.0%}",
            f"{one.other_gpus:.0%}",
        ]  # fmt: skip
    return cells


def numbers(found: Validation) -> dict[str, object]:
    """Return the errors by family, load and configuration, and the intervals, as numbers."""
    names = {"by_family": family, "by_load": load, "by_configuration": configuration}
    said: dict[str, object] = {"runs": len(found.runs)}
    for title, name in names.items():
        said[title] = [
            {
                "names": row.names,
                "runs": row.runs,
                **{f"{m}, {by}": one._asdict() for (m, by), one in row.errors.items()},
            }
            for row in rows_by(found, name)
        ]
    if found.without:
        said["intervals"] = [{**key._asdict(), **one._asdict()} for key, one in held(found).items()]
    return said
