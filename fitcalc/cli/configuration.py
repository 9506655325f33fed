"""``predict``, ``simulate``, ``explain``: questions about one configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.answers import Prediction, Rejection
from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, show, write_json
from fitcalc.cli.engine import read_engine
from fitcalc.cli.groups import takes
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic

if TYPE_CHECKING:
    from fitcalc.planning.explain import Explanation
    from fitcalc.simulation.report import Simulation


@takes(load=opt.read_load, engine=read_engine)
def predict(
    *,
    model: opt.Model,
    gpu: opt.OneGpu,
    load: opt.Load,
    engine: EngineArgs,
    method: Annotated[
        str, typer.Option(help="auto, closed_form or simulation.", rich_help_panel="Answer")
    ] = "auto",
    as_json: opt.Json = False,
) -> int:
    """Predict the latency and throughput of one server."""
    from fitcalc.planning.predict import predict as make_prediction

    answer = make_prediction(model, gpu, engine, load.traffic, method=method)
    return _write(answer, as_json=as_json)


def read_arrivals(
    *,
    trace: Annotated[
        Path | None,
        typer.Option(help="File of recorded requests.", rich_help_panel="Traffic"),
    ] = None,
    ctx: opt.Ctx = None,
    isl: opt.Isl = None,
    osl: opt.Osl = None,
    qps: opt.Qps = None,
    concurrency: opt.Concurrency = None,
    num_requests: opt.NumRequests = None,
    burstiness: opt.Burstiness = None,
    prefix_hit: opt.PrefixHit = None,
) -> Path | Traffic:
    """Read either a trace or the options about traffic.

    Raises:
        InvalidValue: both are given.
    """
    if trace is None:
        return opt.read_load(
            ctx=ctx,
            isl=isl,
            osl=osl,
            qps=qps,
            concurrency=concurrency,
            num_requests=num_requests,
            burstiness=burstiness,
            prefix_hit=prefix_hit,
        ).traffic
    said = (ctx, isl, osl, qps, concurrency, num_requests, burstiness, prefix_hit)
    if any(word is not None for word in said):
        raise InvalidValue("trace", trace, "give a trace or lengths and a rate, not both")
    return trace


@takes(arrivals=read_arrivals, engine=read_engine)
def simulate(
    *,
    model: opt.Model,
    gpu: opt.OneGpu,
    arrivals: Path | Traffic,
    engine: EngineArgs,
    replicas: Annotated[int, typer.Option(min=1, help="Servers behind the router.")] = 1,
    router: Annotated[str, typer.Option(help="How requests find a server.")] = "round_robin",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random draws.")] = 0,
    as_json: opt.Json = False,
) -> int:
    """Run the traffic or a trace through vLLM's scheduler, event by event."""
    from fitcalc.inputs.trace import Trace
    from fitcalc.planning.simulated import simulate as run_simulation

    asked = Trace.read(arrivals) if isinstance(arrivals, Path) else arrivals
    answer = run_simulation(model, gpu, engine, asked, seed=seed, replicas=replicas, router=router)
    return _write(answer, as_json=as_json)


@takes(load=opt.read_load, engine=read_engine)
def explain(
    *,
    model: opt.Model,
    gpu: opt.OneGpu,
    load: opt.Load,
    engine: EngineArgs,
    as_json: opt.Json = False,
) -> int:
    """Print each equation of a prediction with its numbers."""
    from fitcalc.planning.explain import explain as make_explanation

    return _write(make_explanation(model, gpu, engine, load.traffic), as_json=as_json)


def _write(answer: Prediction | Simulation | Explanation | Rejection, *, as_json: bool) -> int:
    if as_json:
        write_json(answer)
    else:
        from fitcalc.report.configuration_view import configuration_view

        show(lambda width: configuration_view(answer, width))
    return NOTHING_FITS if isinstance(answer, Rejection) else ANSWERED
