"""A device's calibration: what it reaches, how well the laws fit, what a plan changes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.planning.calibrated import CalibrationReport, Effect, LawFit, Planned, StepCheck
from fitcalc.report.parts import NARROW, table
from fitcalc.report.words import count, milliseconds, number, usd
from fitcalc.units import MICRO

_PERCENT = 100.0


def calibration_view(found: CalibrationReport, width: int) -> RenderableType:
    """Lay out a calibration's report."""
    held = "" if found.known else "; a device that hardware_db does not hold, kept as measured"
    parts: list[RenderableType] = [
        Text(f"{found.name} ({found.gpu}), {found.source}{held}."),
        _reached(found),
        _laws(found, width),
    ]
    unsure = [f"{_words(law)} {', '.join(law.unsure)}" for law in found.laws if law.unsure]
    if unsure:
        parts.append(Text(f"Not determined by these rows: {'; '.join(unsure)}.\n"))
    if found.missing:
        parts.append(Text("Missing: " + "; ".join(found.missing) + ".\n"))
    if found.steps:
        parts += [_steps(found.steps, width), Text(_steps_words(found.steps) + "\n")]
    if found.plan is not None:
        parts += [_plan(found.plan), Text(found.plan.question + "\n")]
    parts += [Text("Written: " + ", ".join(found.files)), Text(f"To plan with it: {found.use}")]
    return Group(*parts)


def _reached(found: CalibrationReport) -> RenderableType:
    made = table("Measured beside the datasheet", "", "measured", "datasheet", "share")
    for row in found.reached:
        sheet = "-" if row.datasheet is None else f"{number(row.datasheet)} {row.unit}"
        share = "-" if row.share is None else f"{row.share:.0%}"
        made.add_row(row.figure, f"{number(row.measured)} {row.unit}", sheet, share)
    return made


def _words(law: LawFit) -> str:
    return law.law.replace("_", " ") + ("" if law.format == "any" else f" {law.format}")


def _laws(found: CalibrationReport, width: int) -> RenderableType:
    wide = width >= NARROW
    columns = ("rows", "median error", "p90", *(("now", "before", "from") if wide else ()))
    made = table("Fitted laws: what their rows leave unexplained", "", *columns)
    for law in found.laws:
        told = (_told(law.values), _told(law.shipped), law.shipped_from) if wide else ()
        made.add_row(_words(law), f"{law.n:,}", f"{law.error:.1%}", f"{law.error_p90:.1%}", *told)
    return made


def _told(values: Mapping[str, float]) -> str:
    """Name the fractions reached and the floor."""
    words = [
        f"{_PERCENT * values[name]:.0f} % {what}"
        for name, what in (("eta_bandwidth", "bw"), ("eta_flops", "peak"), ("eta_ring", "link"),
                           ("eta_link", "link"))
        if name in values
    ]  # fmt: skip
    floors = [values[name] for name in ("t0_s", "one_shot_s") if name in values]
    words += [f"{number(floor / MICRO)} us" for floor in floors]
    return ", ".join(words) or "-"


def _steps(steps: tuple[StepCheck, ...], width: int) -> RenderableType:
    wide = ("off", "80 % interval") if width >= NARROW else ()
    made = table("A whole small transformer, predicted from kernels alone", "step", "measured",
                 "predicted", *wide, "within")  # fmt: skip
    for step in steps:
        low, high = step.interval_ms
        off = f"{step.predicted_ms / step.measured_ms - 1:+.0%}"
        between = f"{number(low)} to {number(high)} ms"
        made.add_row(
            f"{step.phase}, batch {step.batch_size}, ctx {step.ctx:,}",
            milliseconds(step.measured_ms),
            milliseconds(step.predicted_ms),
            *((off, between) if wide else ()),
            "yes" if step.inside else "no",
        )
    return made


def _steps_words(steps: tuple[StepCheck, ...]) -> str:
    inside = sum(step.inside for step in steps)
    return (
        f"{inside} of {count(len(steps), 'step')} within the interval: what the fits leave of "
        "single kernels, and what the other steps of its phase show beside their kernels."
    )


def _plan(found: Effect) -> RenderableType:
    made = table("What a plan changes", "", "GPUs", "weights", "ITL p99", "TTFT p99", "$/h",
                 "numbers")  # fmt: skip
    for name, side in (("shipped", found.shipped), ("own", found.own)):
        made.add_row(name, *_planned(side))
    return made


def _planned(side: Planned) -> tuple[str, ...]:
    if not side.gpus:
        return ("-", "-", "-", "-", "-", side.reason)
    times = (side.itl_p99_ms, side.ttft_p99_ms)
    shown = ("-" if value is None else milliseconds(value) for value in times)
    return (str(side.gpus), side.weight_format or "-", *shown, usd(side.usd_per_hour),
            side.calibrated)  # fmt: skip
