"""All that a page says about one server under a traffic."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc import MemoryLedger, Prediction, Rejection, Slo, predict
from fitcalc.planning.cost import Bill, bill
from fitcalc.planning.curves import (
    RateCurve,
    Roofline,
    StepCurve,
    rate_curve,
    roofline,
    step_curve,
)
from fitcalc.planning.market import on_demand
from fitcalc.planning.server import beyond_length, start
from rate import OneLoad
from server import Server


@dataclass(frozen=True, slots=True)
class Predicted:
    """A server that starts.

    Attributes:
        found: What its users feel at the rate, or that it is too high.
        memory: Of each GPU.
        bill: The cheapest way to rent it; ``None`` where no price is known.
        rates: What they feel at every rate.
        steps: Its steps at every batch size; ``None`` where answers have one token.
        roof: Its steps under its GPU's ceilings.
    """

    found: Prediction | Rejection
    memory: MemoryLedger
    bill: Bill | None
    rates: RateCurve
    steps: StepCurve | None
    roof: Roofline


def predicted(server: Server, load: OneLoad, slo: Slo) -> Predicted | Rejection:
    """Predict a server at a rate and at every other, or say why it does not start.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    traffic = load.traffic()
    started = start(server.model, server.gpu, server.engine)
    if isinstance(started, Rejection):
        return started
    setup, memory = started
    too_long = beyond_length(setup, traffic)
    if too_long is not None:
        return too_long
    return Predicted(
        found=predict(server.model, server.gpu, server.engine, traffic),
        memory=memory,
        bill=bill(setup.gpu.id, setup.engine.gpus, 1, on_demand()),
        rates=rate_curve(setup, memory, traffic, slo),
        steps=step_curve(setup, memory, traffic) if load.osl > 1 else None,
        roof=roofline(setup, memory, traffic),
    )
