"""``predict``, ``simulate``, ``explain``: questions about one configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.answers import Prediction, Rejection
from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, show, write_json, write_text
from fitcalc.cli.engine import read_engine
from fitcalc.cli.groups import takes
from fitcalc.inputs.engine import EngineArgs

if TYPE_CHECKING:
    from fitcalc.planning.explain import Explanation
    from fitcalc.simulation.report import Simulation

_STEADY = (
    "This is a loop in its steady state. Clients that all start at once wait longer for their\n"
    "first tokens: --num-requests counts these, as `vllm bench serve --max-concurrency` does."
)


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
    code = _write(answer, as_json=as_json)
    steady = isinstance(answer, Prediction) and answer.method == "closed_form"
    if steady and load.traffic.concurrency is not None and not as_json:
        write_text(_STEADY)
    return code


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
