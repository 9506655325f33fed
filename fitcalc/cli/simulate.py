"""``simulate``: traffic or a trace through vLLM's scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.answers import Rejection
from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, show, write_json
from fitcalc.cli.arrivals import Arrivals, read_arrivals
from fitcalc.cli.engine import read_engine
from fitcalc.cli.fleet import FleetWords, read_fleet
from fitcalc.cli.groups import takes
from fitcalc.cli.progress import requests_progress
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo

if TYPE_CHECKING:
    from fitcalc.planning.simulated import Run

INTERRUPTED = 130
TERMINAL = "terminal"


@takes(arrivals=read_arrivals, engine=read_engine, fleet=read_fleet, slo=opt.read_slo)
def simulate(
    *,
    model: opt.Model,
    gpu: opt.OneGpu,
    arrivals: Arrivals,
    engine: EngineArgs,
    fleet: FleetWords,
    slo: Slo,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draws.")] = 0,
    until_ci: Annotated[
        str | None,
        typer.Option(help="Run on until the p99's 95 % interval is this tight, such as 5%."),
    ] = None,
    batching: Annotated[
        str, typer.Option(help="continuous, or all: static and dynamic batches beside it.")
    ] = "continuous",
    records: Annotated[
        Path | None,
        typer.Option(help="Write every request to this file (.csv, .jsonl or .parquet)."),
    ] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(help="Plot the run over time here, or to a file (.html, .png or .svg)."),
    ] = None,
    as_json: opt.Json = False,
) -> int:
    """Run the traffic or a trace through vLLM's scheduler, event by event."""
    from fitcalc.planning.simulated import run_simulation
    from fitcalc.simulation.progress import Stopped

    if batching not in ("continuous", "all"):
        raise InvalidValue("batching", batching, "give continuous or all")
    pictures = [Path(path) for path in plot or () if path != TERMINAL]
    _check_files(records, pictures)
    with requests_progress(shown=not as_json) as told:
        try:
            done = run_simulation(
                model,
                gpu,
                engine,
                arrivals.load,
                max_concurrency=arrivals.max_concurrency,
                num_warmups=arrivals.num_warmups,
                seed=seed,
                replicas=fleet.replicas(engine),
                pools=fleet.pools(engine),
                router=fleet.router,
                outages=fleet.outages,
                slo=slo if slo.model_fields_set else None,
                until_ci=_share(until_ci),
                progress=told,
            )
        except Stopped:
            raise KeyboardInterrupt from None
    if isinstance(done, Rejection):
        return _refuse(done, as_json=as_json)
    _write_files(done, records, pictures)
    if as_json:
        write_json(done.answer)
    else:
        _show(done, plot=TERMINAL in (plot or ()), batching=batching)
    return INTERRUPTED if done.answer.unfinished else ANSWERED


def _check_files(records: Path | None, pictures: list[Path]) -> None:
    """Refuse files that cannot be written before the run, not after it."""
    if records is not None:
        from fitcalc.report.records_file import check_records_file

        check_records_file(records)
    if pictures:
        from fitcalc.report.plot_file import check_plot_file

        for path in pictures:
            check_plot_file(path)


def _write_files(done: Run, records: Path | None, pictures: list[Path]) -> None:
    if records is not None:
        from fitcalc.report.records_file import write_records

        write_records(done.records, records, done.pools)
    if pictures:
        from fitcalc.report.plot_file import write_plot

        for path in pictures:
            write_plot(done.answer, done.records, path)


def _show(done: Run, *, plot: bool, batching: str) -> None:
    from fitcalc.report.parts import NARROW
    from fitcalc.report.simulation_view import (
        batching_view,
        context_view,
        over_time_view,
        simulation_view,
    )

    show(lambda width: simulation_view(done.answer, narrow=width < NARROW))
    if plot:
        show(lambda width: over_time_view(done.records, width))
        show(lambda width: context_view(done.answer, width))
    if batching == "all":
        from fitcalc.simulation.batching import compare_batching

        runs = compare_batching(done.step, done.trace, done.settings)
        show(lambda width: batching_view(runs, width))


def _refuse(no: Rejection, *, as_json: bool) -> int:
    if as_json:
        write_json(no)
    else:
        from fitcalc.report.configuration_view import configuration_view

        show(lambda width: configuration_view(no, width))
    return NOTHING_FITS


def _share(text: str | None) -> float | None:
    """Read ``5%`` or ``0.05``."""
    if text is None:
        return None
    percent = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise InvalidValue("until_ci", text, "give a share such as 5%") from None
    return value / 100.0 if percent else value
