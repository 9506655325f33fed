"""``fitcalc calibrate``: fit every coefficient again to what others measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.errors import InvalidValue

_TABLES = "Folder of timed kernels; calibration/README.md has its form."
_RUNS = "Folder with e2e_vllm.csv and e2e_settings.csv: fit what serving adds."
_MEMORY = "Folder with startup.csv: fit the memory beside weights and KV cache."
_OUT = "Folder for the kernels' results (default: the tables that fitcalc reads)."


def calibrate(
    *,
    from_tables: Annotated[Path | None, typer.Option(help=_TABLES)] = None,
    runs: Annotated[Path | None, typer.Option(help=_RUNS)] = None,
    memory: Annotated[Path | None, typer.Option(help=_MEMORY)] = None,
    out: Annotated[Path | None, typer.Option(help=_OUT)] = None,
    as_json: opt.Json = False,
) -> int:
    """Fit what the given folders tell, write the results, and show what stays unexplained."""
    if from_tables is None and runs is None and memory is None:
        fix = "give a folder of measurements by --from-tables, --runs or --memory"
        raise InvalidValue("calibrate", "nothing", fix)
    from fitcalc.cli.rebuilding import rebuild_results

    return rebuild_results(from_tables, runs, memory, out, as_json=as_json)
