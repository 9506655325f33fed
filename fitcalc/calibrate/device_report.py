"""What a device's fit shows: beside the datasheet, beside the shipped fit, and end to end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from fitcalc.calibrate.device_fit import DeviceFit
from fitcalc.calibrate.own_device import best_bandwidth, best_flops
from fitcalc.calibrate.results import Result
from fitcalc.calibrate.stack_check import check_steps
from fitcalc.catalog.efficiency import Efficiency, Fitted, load_efficiency
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.own import VARIABLE, calibration
from fitcalc.planning.calibrated import CalibrationReport, LawFit, Reached, effect
from fitcalc.units import GIGA, MICRO, TERA

UNSURE = 0.5
"""Standard error over value beyond which the rows do not determine a coefficient. [1]"""


AnyLaw: TypeAlias = Fitted[tuple[float, ...]]


class Shipped(NamedTuple):
    """The coefficients that a fit goes before, and whose they are."""

    values: dict[str, float]
    origin: str


def report(fit: DeviceFit, folder: Path) -> CalibrationReport:
    """Put together what a calibration shows; the folder holds its results."""
    with calibration(None):
        before = load_efficiency(fit.gpu)
    with calibration(folder):
        checks = check_steps(load_gpu(fit.gpu.id), fit.rows)
    formats = [result.key for result in fit.results if result.law == "gemm"]
    return CalibrationReport(
        gpu=fit.gpu.id,
        name=fit.gpu.name,
        known=fit.known,
        source=fit.source,
        reached=tuple(reached(fit)),
        laws=tuple(law_fit(result, before) for result in fit.results),
        missing=fit.missing,
        steps=checks,
        plan=effect(fit.gpu.id, folder, known=fit.known, formats=formats or None),
        files=tuple(str(path) for path in fit.files),
        use=f"export {VARIABLE}={folder.resolve()}",
    )


def reached(fit: DeviceFit) -> Iterator[Reached]:
    """Yield what was reached of bandwidth and peaks, then the floors of time."""
    gpu = fit.gpu
    sheet = gpu.peak_flops if fit.known else {}
    bandwidth = best_bandwidth(fit.rows, gpu.id)
    if bandwidth is not None:
        named = gpu.memory_bandwidth if fit.known else None
        yield _reached("memory bandwidth", "GB/s", GIGA, bandwidth, named)
    for fmt, flops in best_flops(fit.rows.held.get("gemm"), gpu.id).items():
        yield _reached(f"{fmt} GEMM", "TFLOPS", TERA, flops, sheet.get(fmt))
    for result in fit.results:
        for name in ("t0_s", "one_shot_s"):
            if name in result.fit.values:
                floor = result.fit.values[name]
                yield _reached(f"floor of {result.law} {result.key}", "us", MICRO, floor, None)
    yield from _launches(fit)


def _launches(fit: DeviceFit) -> Iterator[Reached]:
    """Yield the time of one of many kernels that do nothing, by how they are launched."""
    table = fit.rows.held.get("launch")
    for mode in ("eager", "graph") if table is not None else ():
        rows = table.equal("mode", mode) if table is not None else None
        if rows is not None and len(rows):
            each = float((rows.number("latency_us") / rows.number("kernels")).min())
            yield _reached(f"launch of a kernel, {mode}", "us", 1.0, each, None)


def _reached(
    figure: str, unit: str, scale: float, measured: float, datasheet: float | None
) -> Reached:
    return Reached(
        figure=figure,
        unit=unit,
        measured=measured / scale,
        datasheet=None if datasheet is None else datasheet / scale,
        share=None if datasheet is None else measured / datasheet,
    )


def law_fit(result: Result, before: Efficiency) -> LawFit:
    """Put a law beside the one that planning used before."""
    values, errors = dict(result.fit.values), result.fit.standard_errors
    shipped = _before(result, before)
    return LawFit(
        law=result.law,
        format=result.key,
        engine=result.engine,
        n=result.fit.n,
        error=result.fit.error,
        error_p90=result.fit.error_p90,
        values=values,
        standard_errors={n: e if math.isfinite(e) else None for n, e in errors.items()},
        shipped=shipped.values,
        shipped_from=shipped.origin,
        unsure=tuple(n for n, e in errors.items() if not e < UNSURE * values[n]),
    )


def _before(result: Result, before: Efficiency) -> Shipped:
    """Return what a law's format took before; nothing for a format that planning never takes."""
    held = cast("AnyLaw | Mapping[object, AnyLaw]", getattr(before, result.law))
    key = int(result.key) if result.key.isdigit() else result.key
    found = held.get(key) if isinstance(held, Mapping) else held
    return Shipped(dict(found.coefficients.values), found.origin) if found else Shipped({}, "")
