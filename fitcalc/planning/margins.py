"""How many servers each reason adds: traffic, headroom, confidence, ..."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from fitcalc.inputs.risk import Risk
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.cost import Bought, replicas_for
from fitcalc.planning.evaluate import carried
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.load import Load
from fitcalc.planning.reserves import Margins, Reason
from fitcalc.planning.search import Search
from fitcalc.planning.slow_end import deviations

_MINUTE_S, _MINUTES_A_DAY = 60.0, 1440.0
_MOST_FREE = 0.9
_PERCENT = 100.0


def peak_minute(traffic: Traffic) -> float | None:
    r"""Requests of the busiest minute of a day over those of a mean one; None for a closed loop.

    Counts of a minute have the mean $m = 60 \lambda$ and, with gaps of a Gamma law of shape
    ``burstiness``, the variance $m / b$. The busiest of a day's minutes is their quantile at
    $1 - 1/1440$, taken of the Gamma law with that mean and variance (Wilson and Hilferty, "The
    distribution of chi-square", PNAS 17, 1931).

    Examples:
        >>> round(peak_minute(Traffic(qps=20, isl=1, osl=1)), 3)
        1.095
    """
    if traffic.qps is None:
        return None
    mean = traffic.qps * _MINUTE_S
    ninth = 1.0 / (9.0 * mean * traffic.burstiness)
    z = deviations(1.0 - 1.0 / _MINUTES_A_DAY)
    return max(1.0, (1.0 - ninth + z * math.sqrt(ninth)) ** 3)


def peak_headroom(traffic: Traffic) -> float:
    """Share that stays free so that the busiest minute of a day fits. [1]"""
    return min(_MOST_FREE, 1.0 - 1.0 / (peak_minute(traffic) or 1.0))


def margins(
    search: Search,
    best: Finalist,
    load: Load,
    risk: Risk,
    price: Callable[[int], Bought],
) -> Margins:
    """Say what each reason adds to the chosen configuration.

    Args:
        search: The question, at the load that was planned for.
        best: The choice.
        load: Today's load, and the share that stays free.
        risk: What must be survived.
        price: What a number of servers costs.
    """
    sure = best.priced.found.load
    plain = carried(search, [best.priced.found.entry])[0].load if risk.confidence else sure
    today, headroom = load.today, load.headroom
    now = today.load
    alone = replicas_for(now, plain, 0.0)
    free = replicas_for(now, plain, headroom)
    slow = replicas_for(now, sure, headroom)
    grown = replicas_for(search.traffic.load, sure, headroom)
    spared = grown + risk.spare
    counts = [0, *(int(n) for n in (alone, free, slow, grown, spared)), best.choice.replicas]
    words = _words(search, best, load, risk, plain)
    shown = (True, True, risk.confidence is not None, risk.growth > 0, risk.spare > 0)
    rows = [
        Reason(reason=name, replicas=b - a, usd_per_hour=_added(price, a, b), why=words[name])
        for (name, (a, b)), told in zip(
            zip(words, pairwise(counts), strict=True),
            (*shown, counts[-1] != counts[-2]),
            strict=True,
        )
        if told
    ]
    return Margins(
        reasons=tuple(rows),
        peak_minute=peak_minute(today),
        growth_factor=risk.factor,
        today_lasts_months=_lasts(slow * sure, now, risk.growth),
        lasts_months=_lasts((best.choice.replicas - risk.spare) * sure, now, risk.growth),
    )


def _lasts(carries: float, now: float, growth: float) -> float | None:
    """Months until a load that grows is all that servers carry within the promise."""
    return math.log(carries / now) / math.log1p(growth) if growth > 0 else None


def _added(price: Callable[[int], Bought], fewer: int, more: int) -> float | None:
    """Return what going from fewer servers to more adds to the bill. [USD/h]"""
    last = price(more).usd_per_hour
    first = price(fewer).usd_per_hour if fewer else 0.0
    return None if last is None or first is None else last - first


def _words(search: Search, best: Finalist, load: Load, risk: Risk, plain: float) -> dict[str, str]:
    """Say what each reason is about."""
    unit = "clients" if search.closed else "req/s"
    busiest = peak_minute(load.today)
    needs = (
        ""
        if busiest is None
        else f"; the busiest minute of a day needs {_percent(1.0 - 1.0 / busiest)}"
    )
    events = best.choice.verification is not None
    sure = f"{_percent(risk.confidence)} sure" if risk.confidence else ""
    return {
        "traffic": f"{load.today.load:,.4g} {unit}, at most {plain:,.3g} a server in the promise",
        "headroom": f"{_percent(load.headroom)} of it stays free{needs}",
        "confidence": f"{sure}: a server as slow as that end of the interval carries "
        f"{best.priced.found.load:,.3g} {unit}",
        "growth": f"{_percent(risk.growth)} a month for {risk.horizon:g} months: "
        f"{search.traffic.load:,.4g} {unit}",
        "spare": f"the promise holds with {risk.spare} lost",
        "fit": "whole clients and the edge of the promise" + (", events asked" if events else ""),
    }


def _percent(share: float) -> str:
    """Return a share in percent.

    Examples:
        >>> _percent(0.125)
        '12.5 %'
    """
    return f"{_PERCENT * share:.3g} %"
