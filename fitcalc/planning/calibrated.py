"""What a user's own calibration shows, and what it changes in a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fitcalc.answers import Row
from fitcalc.catalog.gpu import Vendor, load_gpu
from fitcalc.catalog.own import calibration
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.plan import plan

MODEL, QPS, ISL, OSL = "llama-3.1-8b", 5.0, 2048, 256
"""The question whose answer is shown before and after: a small chat model at a modest rate."""


class Reached(Row):
    """One figure beside the datasheet's. ``share`` = measured / datasheet. [1]"""

    figure: str
    unit: str
    measured: float
    datasheet: float | None
    share: float | None


class LawFit(Row):
    """One fitted law beside the one that it goes before.

    ``values`` and ``standard_errors`` in base units, null where the fit ended at a bound;
    ``error`` and ``error_p90`` median and 90th percentile of abs(predicted / measured - 1) [1];
    ``shipped`` what planning would use without this fit; ``unsure`` the coefficients that the rows
    do not determine.
    """

    law: str
    format: str
    engine: str
    n: int
    error: float
    error_p90: float
    values: dict[str, float]
    standard_errors: dict[str, float | None]
    shipped: dict[str, float]
    shipped_from: str
    unsure: tuple[str, ...]


class StepCheck(Row):
    """One step of a whole small transformer: measured, and predicted from the kernels alone."""

    phase: str
    batch_size: int
    ctx: int
    measured_ms: float
    predicted_ms: float
    interval_ms: tuple[float, float]
    inside: bool


class Planned(Row):
    """What a plan answers; without GPUs, why nothing serves."""

    gpus: int
    weight_format: str | None
    calibrated: str
    itl_p99_ms: float | None
    ttft_p99_ms: float | None
    usd_per_hour: float | None
    reason: str


class Effect(Row):
    """A question on this GPU alone, answered with the shipped figures and with one's own."""

    question: str
    shipped: Planned
    own: Planned


class CalibrationReport(Row):
    """All that a calibration shows of one device."""

    gpu: str
    name: str
    known: bool
    source: str
    reached: tuple[Reached, ...]
    laws: tuple[LawFit, ...]
    missing: tuple[str, ...]
    steps: tuple[StepCheck, ...]
    plan: Effect | None
    files: tuple[str, ...]
    use: str


def effect(gpu: str, folder: Path, *, known: bool, formats: Sequence[str] | None) -> Effect | None:
    """Plan one question on one GPU without and with its own calibration; None for a CPU.

    Args:
        gpu: Its id.
        folder: The calibration.
        known: Whether hardware_db holds it.
        formats: Weight formats that were measured; ``None`` = any.
    """
    with calibration(folder):
        if load_gpu(gpu).vendor is Vendor.CPU:
            return None
        own = _ask(gpu, formats)
    with calibration(None):
        shipped = _ask(gpu, formats) if known else _nothing("hardware_db does not hold this GPU")
    question = f"{MODEL}, {QPS:g} requests/s of {ISL} + {OSL} tokens, on {gpu}"
    return Effect(question=question, shipped=shipped, own=own)


def _ask(gpu: str, formats: Sequence[str] | None) -> Planned:
    found = plan(MODEL, Traffic(qps=QPS, isl=ISL, osl=OSL), gpus=[gpu], quantization=formats)
    best = found.best
    if best is None:
        return _nothing("nothing serves" if found.closest is None else found.closest.reason)
    felt = best.prediction
    return Planned(
        gpus=best.gpu_count,
        weight_format=best.engine.weight_format,
        calibrated=felt.calibrated.value,
        itl_p99_ms=felt.itl_ms.p99,
        ttft_p99_ms=felt.ttft_ms.p99,
        usd_per_hour=best.usd_per_hour,
        reason="",
    )


def _nothing(reason: str) -> Planned:
    return Planned(
        gpus=0, weight_format=None, calibrated="", itl_p99_ms=None, ttft_p99_ms=None,
        usd_per_hour=None, reason=reason,
    )  # fmt: skip
