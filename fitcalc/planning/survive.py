"""A plan with the reasons of its size: how sure it is, what it survives, what the day costs."""

from __future__ import annotations

from fitcalc.answers import Terms
from fitcalc.inputs.scaling import Scaling
from fitcalc.planning.choice import Plan
from fitcalc.planning.cost import bought
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.load import Load
from fitcalc.planning.market import Market
from fitcalc.planning.search import Search
from fitcalc.planning.slow_end import confidence


def with_reasons(
    made: Plan, search: Search, best: Finalist, load: Load, *, scaling: Scaling, sold: Market
) -> Plan:
    """Return the plan with the confidence of its best, its margins and its day."""
    asked = made.question
    update: dict[str, object] = {
        "best": best.choice.model_copy(update={"confidence": confidence(search, best)})
    }
    price = bought(best.choice.gpu, best.priced.found.entry.gpus, sold)
    if asked.risk.asked:
        from fitcalc.planning.margins import margins  # noqa: PLC0415 - only where asked

        update["margins"] = margins(search, best, load, asked.risk, price)
    if load.rates is not None:
        from fitcalc.planning.cold_start import cold_start  # noqa: PLC0415 - only where asked
        from fitcalc.planning.day import day  # noqa: PLC0415

        start = cold_start(best.setup, best.ledger.weights_bytes, scaling.cold_start_s)
        update["day"] = day(
            best.choice,
            load.rates,
            scaling,
            start=start,
            price=price,
            spare=asked.risk.spare,
            always_paid=asked.buying.terms in {Terms.RESERVED, Terms.OWNED},
        )
    return made.model_copy(update=update)
