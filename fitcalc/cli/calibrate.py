"""``fitcalc calibrate``: measure and fit the device at hand, or fit again what others measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.errors import InvalidValue

_TABLES = "Folder of timed kernels; calibration/README.md has its form."
_RUNS = "Folder with e2e_vllm.csv and e2e_settings.csv: fit what serving adds."
_MEMORY = "Folder with startup.csv: fit the memory beside weights and KV cache."
_OUT = "Folder for rows (default fitcalc-calibration/<gpu>), or for the results of --from-tables."
_FIT = "Folder of your own device's rows: fit them again, and show what they tell."
_DEVICE = "Measure and fit this device: cuda:0, cuda:1, or cpu."
_MINUTES = "Longest time to measure (default 5); a later run goes on where this one stops."
_ONLY = "Measure only these: gemm, attention, moe, elementwise, stack, launch, ..."


def calibrate(
    *,
    device: Annotated[str | None, typer.Option(help=_DEVICE)] = None,
    minutes: Annotated[float | None, typer.Option(help=_MINUTES)] = None,
    only: Annotated[list[str] | None, typer.Option(help=_ONLY)] = None,
    from_tables: Annotated[Path | None, typer.Option(help=_TABLES)] = None,
    runs: Annotated[Path | None, typer.Option(help=_RUNS)] = None,
    memory: Annotated[Path | None, typer.Option(help=_MEMORY)] = None,
    out: Annotated[Path | None, typer.Option(help=_OUT)] = None,
    fit: Annotated[Path | None, typer.Option(help=_FIT)] = None,
    as_json: opt.Json = False,
) -> int:
    """Measure and fit a device, or fit what the given folders tell."""
    folders = [folder for folder in (from_tables, runs, memory) if folder is not None]
    if device is not None:
        if folders or fit is not None:
            raise InvalidValue(
                "device", device, "leave out --fit, --from-tables, --runs and --memory"
            )
        from fitcalc.cli.measuring import MINUTES, measure_device

        limit = MINUTES if minutes is None else minutes
        return measure_device(device, out, limit, opt.names(only), as_json=as_json)
    if minutes is not None or only:
        raise InvalidValue("device", "none", "name what to measure by --device cuda:0 or cpu")
    if fit is not None:
        if folders or out is not None:
            raise InvalidValue("fit", fit, "it stands alone: its results are written beside it")
        from fitcalc.cli.own_fit import fit_own

        return fit_own(fit, as_json=as_json)
    if not folders:
        fix = "give --device, or measurements by --fit, --from-tables, --runs or --memory"
        raise InvalidValue("calibrate", None, fix)
    from fitcalc.cli.rebuilding import rebuild_results

    return rebuild_results(from_tables, runs, memory, out, as_json=as_json)
