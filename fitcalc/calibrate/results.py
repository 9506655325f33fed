"""Results: what a fit leaves behind, as the TOML that ``load_efficiency`` reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.calibrate.solve import Fit
from fitcalc.units import MICRO

DIGITS = 4
HEADER = "# Written by `fitcalc calibrate --from-tables`. Not edited by hand.\n"


@dataclass(frozen=True, slots=True)
class Result:
    """One fitted law of one GPU.

    Attributes:
        law: Table of the TOML, such as ``gemm``.
        key: Format, KV format or number of ranks.
        peak: Number format of the peak it is a fraction of; empty where none is.
        engine: Whose kernels were timed.
        fit: The coefficients.
    """

    law: str
    key: str
    peak: str
    engine: str
    fit: Fit


def unit(name: str) -> str:
    """Return the unit of a coefficient in the TOML, by its name's suffix."""
    if name.endswith("_s"):
        return "us"
    counted = {"rows_half": "rows", "length_half": "tokens", "sequence_tokens": "tokens"}
    return counted.get(name, "1")


def number(value: float, name: str) -> str:
    """Write a coefficient with four digits, times in microseconds; unknown errors as nan."""
    scaled = value / MICRO if unit(name) == "us" else value
    return f"{scaled:.{DIGITS}g}" if math.isfinite(scaled) else "nan"


def to_toml(gpu: str, source: str, results: Sequence[Result], header: str = HEADER) -> str:
    """Write all laws of one GPU."""
    lines = [header, f'gpu = "{gpu}"', f'source = "{source}"']
    for law in dict.fromkeys(result.law for result in results):
        rows = [result for result in results if result.law == law]
        names = tuple(rows[0].fit.values)
        lines += ["", f"[{law}]", f"coefficients = {quoted(names)}"]
        lines += [f"units = {quoted([unit(name) for name in names])}"]
        lines += [f"{row.key} = {cells(row, names)}" for row in rows]
    return "\n".join(lines) + "\n"


def quoted(words: Sequence[str]) -> str:
    """Write a list of words."""
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def cells(row: Result, names: Sequence[str]) -> str:
    """Write one law as an inline table."""
    fit = row.fit
    values = ", ".join(number(fit.values[name], name) for name in names)
    errors = ", ".join(number(fit.standard_errors[name], name) for name in names)
    residual = ", ".join(f"{value:.3f}" for value in fit.residual)
    peak = f', peak = "{row.peak}"' if row.peak else ""
    return (
        f"{{ value = [{values}], standard_error = [{errors}], n = {fit.n}, "
        f'residual = [{residual}], engine = "{row.engine}"{peak} }}'
    )


def pooled(fits: Sequence[Fit]) -> Fit:
    """Return the median coefficients of several GPUs; their spread is the standard error."""
    names = tuple(fits[0].values)
    columns: Mapping[str, list[float]] = {n: [fit.values[n] for fit in fits] for n in names}
    spread = {
        n: float(np.std(column)) if len(fits) > 1 else math.inf for n, column in columns.items()
    }
    low, middle, high = np.median([fit.residual for fit in fits], axis=0).tolist()
    return Fit(
        values={name: float(np.median(column)) for name, column in columns.items()},
        standard_errors=spread,
        n=sum(fit.n for fit in fits),
        residual=(low, middle, high),
        error=float(np.median([fit.error for fit in fits])),
        error_p90=float(np.median([fit.error_p90 for fit in fits])),
    )
