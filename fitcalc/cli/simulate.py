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
from fitcalc.cli.groups import takes
from fitcalc.cli.progress import progress
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo

if TYPE_CHECKING:
    from fitcalc.planning.simulated import Run


@takes(arrivals=read_arrivals, engine=read_engine, slo=opt.read_slo)
def simulate(
    *,
    model: opt.Model,
    gpu: opt.OneGpu,
    arrivals: Arrivals,
    engine: EngineArgs,
    slo: Slo,
    replicas: Annotated[int, typer.Option(min=1, help="Servers behind the router.")] = 1,
    router: Annotated[
        str,
        typer.Option(
            help="round_robin, random, least_requests, least_kv_usage, prefix or session."
        ),
    ] = "round_robin",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draws.")] = 0,
    until_ci: Annotated[
        str | None,
        typer.Option(help="Run on until the p99's 95 % interval is this tight, such as 5%."),
    ] = None,
    batching: Annotated[
        str, typer.Option(help="continuous, or all: static and dynamic batches beside it.")
    ] = "continuous",
    records: Annotated[Path | None, typer.Option(help="Write every request to a CSV.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Plot the run over time.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Run the traffic or a trace through vLLM's scheduler, event by event."""
    from fitcalc.planning.simulated import run_simulation

    if batching not in ("continuous", "all"):
        raise InvalidValue("batching", batching, "give continuous or all")
    with progress("simulating", shown=not as_json) as told:
        done = run_simulation(
            model,
            gpu,
            engine,
            arrivals.load,
            max_concurrency=arrivals.max_concurrency,
            num_warmups=arrivals.num_warmups,
            seed=seed,
            replicas=replicas,
            router=router,
            slo=slo if slo.model_fields_set else None,
            until_ci=_share(until_ci),
            progress=told,
        )
    if isinstance(done, Rejection):
        return _refuse(done, as_json=as_json)
    if records is not None:
        from fitcalc.report.simulation_view import write_records

        write_records(done.records, records)
    if as_json:
        write_json(done.answer)
        return ANSWERED
    _show(done, plot=plot, batching=batching)
    return ANSWERED


def _show(done: Run, *, plot: bool, batching: str) -> None:
    from fitcalc.report.parts import NARROW
    from fitcalc.report.simulation_view import batching_view, over_time_view, simulation_view

    show(lambda width: simulation_view(done.answer, narrow=width < NARROW))
    if plot:
        show(lambda width: over_time_view(done.records, width))
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
