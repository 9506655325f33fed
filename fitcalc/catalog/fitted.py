"""Fitted coefficients as they stand in ``calibration/results/<gpu>.toml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from fitcalc.catalog.gpu import shipped_ids
from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.catalog.own import COUNTS, own_results
from fitcalc.catalog.tables import Toml, read_toml, root
from fitcalc.errors import TableError
from fitcalc.units import to_base

DEFAULT = "default"
"""The file that pools all measured GPUs; its collectives are tables by link family."""

COEFFICIENTS: Mapping[str, tuple[str, ...]] = {
    "gemm": GemmLaw._fields[2:],
    "attention_decode": AttentionDecodeLaw._fields[3:],
    "attention_prefill": AttentionPrefillLaw._fields[2:],
    "moe": MoeLaw._fields[2:],
    "glue": MemoryLaw._fields[1:],
    "all_reduce": AllReduceLaw._fields[1:],
    "all_reduce_fused": AllReduceLaw._fields[1:],
    "all_gather": ExchangeLaw._fields[1:],
    "all_to_all": ExchangeLaw._fields[1:],
}
"""The fitted coefficients of each law; what a law has before them is the GPU's own."""

_FOLDER = ("calibration", "results")
_CELLS = ("value", "standard_error", "n", "residual", "engine")


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One fitted law, not yet bound to a GPU.

    Attributes:
        values: By name, in base units.
        standard_error: By name; nan where the fit ended at a bound.
        n: Measurements. [1]
        residual: Percentiles 10, 50 and 90 of measured over predicted time. [1]
        engine: Whose kernels were timed.
        peak: Number format of the peak that ``eta_flops`` is a fraction of; empty where none is.
    """

    values: Mapping[str, float]
    standard_error: Mapping[str, float]
    n: int
    residual: tuple[float, float, float]
    engine: str
    peak: str


Laws = Mapping[str, Mapping[str, Coefficients]]
"""Coefficients by law, then by format or number of ranks."""


@cache
def fitted_ids() -> frozenset[str]:
    """Return the ids of the GPUs that have results of their own."""
    names = (path.name for path in root().joinpath(*_FOLDER).iterdir())
    stems = (name.removesuffix(".toml") for name in names if name.endswith(".toml"))
    return frozenset(stems) & frozenset(shipped_ids())


@cache
def read_fitted(name: str) -> Laws:
    """Read the results of a GPU, or the pooled ``default``.

    Raises:
        TableError: the file is missing, cites no source, or a row lacks a cell.
    """
    file = f"{name}.toml"
    table = read_toml(*_FOLDER, file)
    if not table.get("source"):
        raise TableError(f"results {file} has no source: every figure is cited.")
    return parse_fitted(table, file)


@cache
def read_own_fitted(path: Path) -> Laws:
    """Read a user's own results.

    Raises:
        FitcalcError: a law, a coefficient or a cell is not what it must be.
    """
    return parse_fitted(own_results(path, COEFFICIENTS), path.name)


def parse_fitted(table: Toml, where: str) -> Laws:
    """Turn a results table into coefficients; tables of link families become ``law.family``.

    Raises:
        TableError: a row lacks a cell, or its values do not match the coefficients named.
    """
    laws: dict[str, Mapping[str, Coefficients]] = {}
    for law, value in table.items():
        if not isinstance(value, Mapping):
            continue
        if "coefficients" in value:
            laws[law] = _rows(cast("Toml", value), f"{where} {law}")
        else:
            for family, rows in value.items():
                laws[f"{law}.{family}"] = _rows(cast("Toml", rows), f"{where} {law}.{family}")
    return laws


def _rows(table: Toml, where: str) -> Mapping[str, Coefficients]:
    names = cast("Sequence[str]", table["coefficients"])
    units = cast("Sequence[str]", table["units"])
    factors = [to_base(1.0, COUNTS.get(unit, unit)) for unit in units]
    skipped = ("coefficients", "units")
    return {
        key: _row(cast("Toml", row), names, factors, f"{where}.{key}")
        for key, row in table.items()
        if key not in skipped
    }


def _row(row: Toml, names: Sequence[str], factors: Sequence[float], where: str) -> Coefficients:
    missing = [cell for cell in _CELLS if cell not in row]
    if missing:
        raise TableError(f"results {where} has no {missing[0]}.")
    columns = [cast("Sequence[float]", row[cell]) for cell in ("value", "standard_error")]
    if any(len(column) != len(names) for column in columns):
        raise TableError(f"results {where} must give {len(names)} values and standard errors.")
    values, errors = (
        {name: float(v) * f for name, v, f in zip(names, column, factors, strict=True)}
        for column in columns
    )
    low, middle, high = cast("Sequence[float]", row["residual"])
    return Coefficients(
        values=values,
        standard_error=errors,
        n=int(cast("int", row["n"])),
        residual=(low, middle, high),
        engine=str(row["engine"]),
        peak=str(row.get("peak", "")),
    )
