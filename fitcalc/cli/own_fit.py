"""The fitting half of ``fitcalc calibrate`` on one's own device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fitcalc.cli.answer import ANSWERED, show, write_json
from fitcalc.cli.measurements import needs_scipy, reading
from fitcalc.errors import FitcalcError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fitcalc.planning.calibrated import CalibrationReport


def fit_own(folder: Path, *, as_json: bool) -> int:
    """Fit a folder of one device's rows, write its results, and show what they tell."""
    found = fitted(folder)
    if as_json:
        write_json(found)
    else:
        show(lambda width: view(found, width))
    return ANSWERED


def fitted(folder: Path) -> CalibrationReport:
    """Fit a folder and put together what it shows."""
    needs_scipy("calibrate")
    from fitcalc.calibrate.device_fit import fit_device
    from fitcalc.calibrate.device_report import report

    with reading("fit", folder):
        return report(fit_device(folder), folder)


def fitted_or_why(folder: Path) -> tuple[CalibrationReport | None, str]:
    """Fit a folder that may hold too little yet: the report, or why there is none."""
    try:
        return fitted(folder), ""
    except FitcalcError as error:
        return None, f"Not fitted: {error} Later: fitcalc calibrate --fit {folder}"


def view(found: CalibrationReport, width: int) -> RenderableType:
    """Lay out a calibration."""
    from fitcalc.report.calibration_view import calibration_view

    return calibration_view(found, width)
