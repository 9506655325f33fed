"""One configuration: what do its users feel."""

from __future__ import annotations

from fitcalc.answers import Prediction, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.server import beyond_length, closed_form, start
from fitcalc.planning.setup import ModelName
from fitcalc.planning.simulated import simulated_prediction

METHODS = ("auto", "closed_form", "simulation")


def predict(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic: Traffic,
    *,
    method: str = "auto",
    seed: int = 0,
) -> Prediction | Rejection:
    """Predict what one server's users feel under a traffic.

    Args:
        model: As in ``fit``.
        gpu: As in ``fit``.
        engine: vLLM's settings; open fields resolve as that vLLM would.
        traffic: What reaches this one server.
        method: ``closed_form``, ``simulation`` (event by event), or ``auto``: events for closed
            loops of a known number of requests and where ``prefill_schedule_interval`` or
            ``long_prefill_token_threshold`` hold prompts back, the closed form otherwise.
        seed: Of the simulation.

    Returns:
        A prediction, or a falsy ``Rejection``: it does not fit, or the rate is above the largest
        stable one (``Limit.SATURATION``, needed and available in requests a second).

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    if method not in METHODS:
        raise InvalidValue("method", method, f"use one of {', '.join(METHODS)}")
    started = start(model, gpu, engine or EngineArgs())
    if isinstance(started, Rejection):
        return started
    setup, ledger = started
    too_long = beyond_length(setup, traffic)
    if too_long is not None:
        return too_long
    counted = traffic.concurrency is not None and traffic.num_requests is not None
    if method == "simulation" or (method == "auto" and (counted or setup.engine.paces_prefills)):
        return simulated_prediction(setup, ledger, traffic, seed=seed)
    if setup.engine.paces_prefills:
        fix = "prefill_schedule_interval and long_prefill_token_threshold ask for simulation"
        raise InvalidValue("method", method, fix)
    return closed_form(setup, ledger, traffic)
