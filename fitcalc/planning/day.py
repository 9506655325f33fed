"""Servers over a day or a week of rates: scaled by the hour beside sized for the peak.

No server ever carries more than it does at the peak, for which the plan was made; so the promise
holds at every hour where it holds there. A server is ordered one cold start before it is needed
and stays a while after; whole instances are paid for as long as they run, to the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.scaling import Scaling
from fitcalc.planning.choice import Choice
from fitcalc.planning.cost import Bought
from fitcalc.planning.daily import ColdStart, Day, Fleet, Hour
from fitcalc.planning.over_day import (
    EDGE,
    Spans,
    between,
    late_share,
    paid,
    servers_for,
    shortest_lead_s,
)
from fitcalc.units import MEGA, MINUTES_PER_HOUR, SECONDS_PER_HOUR, Array

_LONGEST_S = 366 * 24 * SECONDS_PER_HOUR
_WORTH = 0.05
"""Least share of the money that makes scaling worth its trouble. [1]"""


def day(
    best: Choice,
    rates: Rates,
    scaling: Scaling,
    *,
    start: ColdStart,
    price: Callable[[int], Bought],
    spare: int = 0,
    always_paid: bool = False,
) -> Day:
    """Serve a profile with a choice that was planned for its peak.

    Args:
        best: The choice.
        rates: The profile, its peak the rate that was planned for.
        scaling: Limits of the autoscaler.
        start: What a new server takes.
        price: What a number of servers costs.
        spare: Servers of these that may be lost. [1]
        always_paid: Whether servers are paid for while nobody needs them: owned or reserved.

    Raises:
        InvalidValue: limits that contradict the plan or each other.
    """
    if rates.end_s > _LONGEST_S:
        raise InvalidValue("rates", f"{rates.end_s:,.0f} s", "give at most a year")
    static = best.replicas
    most = _most(scaling, static, spare)
    needed = servers_for(rates, static, spare)
    running = np.clip(needed, scaling.min_replicas, most)
    at_all_hours = Spans(np.array([0.0, rates.end_s]), np.array([float(static)]))
    needs = paid(rates, running, start.seconds, scaling.hold_s)
    spans = at_all_hours if always_paid else needs
    at_peak = float(rates.per_s.max()) / (static - spare)
    each = at_peak / max(1.0 - best.headroom, EDGE)
    bill = {int(n): price(int(n)) for n in {static, *spans.servers.tolist()}}
    fleets = [_fleet(best, rates, each, one, bill) for one in (at_all_hours, spans)]
    usd = [one.usd for one in fleets]
    saving = None if usd[0] is None or usd[1] is None else 1.0 - usd[1] / usd[0]
    lead = shortest_lead_s(rates, running - spare, each)
    made = Day(
        hours=_hours(rates, running, spans, bill),
        requests=rates.mean_per_s * rates.end_s,
        mean_per_s=rates.mean_per_s,
        peak_per_s=float(rates.per_s.max()),
        target_per_s=at_peak,
        min_replicas=scaling.min_replicas,
        max_replicas=most,
        static=fleets[0],
        scaled=fleets[1],
        saving=saving,
        cold_start=start,
        shortest_lead_s=lead,
        late_share=late_share(rates, running - spare, at_peak, each, start.seconds),
        over_share=_share_of(rates, needed > most),
        verdict="",
    )
    return made.model_copy(update={"verdict": _verdict(made, best, needs, always_paid=always_paid)})


def _most(scaling: Scaling, static: int, spare: int) -> int:
    """Return the most servers that may run. [1]"""
    most = min(scaling.max_replicas or static, static)
    if most <= spare:
        raise InvalidValue("max_replicas", most, f"give more than the {spare} that may be lost")
    if scaling.min_replicas > most:
        fix = f"the peak takes {static} servers and at most {most} may run; give fewer"
        raise InvalidValue("min_replicas", scaling.min_replicas, fix)
    return most


def _share_of(rates: Rates, where: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Share of the requests that come in some windows. [1]"""
    came = rates.per_s * np.diff(np.append(rates.start_s, rates.end_s))
    return float(came[where].sum() / came.sum())


def _fleet(best: Choice, rates: Rates, each: float, spans: Spans, bill: dict[int, Bought]) -> Fleet:
    """Sum servers and money over all spans."""
    hours = np.diff(spans.edges_s) / SECONDS_PER_HOUR
    money = [bill[int(n)].usd_per_hour for n in spans.servers]
    known = [one for one in money if one is not None]
    usd = float(np.array(known) @ hours) if len(known) == len(money) else None
    gpu_hours = float(np.array([bill[int(n)].gpus for n in spans.servers]) @ hours)
    requests = rates.mean_per_s * rates.end_s
    said = best.prediction
    tokens = requests * said.total_tokens_per_s / said.requests_per_s
    could = each * gpu_hours / best.engine.gpus * SECONDS_PER_HOUR
    return Fleet(
        server_hours=float(spans.servers @ hours),
        usd=usd,
        usd_per_million_tokens=None if usd is None else usd / tokens * MEGA,
        idle_share=max(0.0, 1.0 - requests / could),
    )


def _hours(rates: Rates, running: Array, spans: Spans, bill: dict[int, Bought]) -> tuple[Hour, ...]:
    """Cut windows and spans into hours."""
    count = math.ceil(rates.end_s / SECONDS_PER_HOUR - EDGE)
    cuts = np.minimum(np.arange(count + 1) * SECONDS_PER_HOUR, rates.end_s)
    ends = np.append(rates.start_s, rates.end_s)
    requests = between(ends, rates.per_s, cuts)
    servers = between(spans.edges_s, spans.servers, cuts) / SECONDS_PER_HOUR
    money = [bill[int(n)].usd_per_hour for n in spans.servers]
    priced = None not in money
    usd = between(spans.edges_s, np.array([m or 0.0 for m in money]), cuts) / SECONDS_PER_HOUR
    first = np.searchsorted(ends, cuts[:-1], side="right") - 1
    last = np.searchsorted(ends, cuts[1:], side="left")
    return tuple(
        Hour(
            hour=i,
            requests=float(requests[i]),
            peak_per_s=float(rates.per_s[first[i] : last[i]].max()),
            replicas=int(running[first[i] : last[i]].max()),
            server_hours=float(servers[i]),
            usd=float(usd[i]) if priced else None,
        )
        for i in range(count)
    )


def _verdict(made: Day, best: Choice, needs: Spans, *, always_paid: bool) -> str:
    """Say whether scaling helps, and what stands in its way."""
    fewest = int(needs.servers.min())
    if always_paid:
        return "scaling does not help: servers of these terms are paid for at all hours"
    if made.saving is None:
        gain = "no price is known"
    elif made.saving >= _WORTH:
        gain = f"scaling by the hour saves {100 * made.saving:.0f} % of the money"
    elif best.replicas == 1:
        return "scaling does not help: the peak takes one server, and one must run"
    elif fewest == best.replicas:
        return "scaling does not help: the servers of the peak run all the time"
    elif made.saving <= 0.0:
        return "scaling does not help: instances are bought whole, and as many run at all hours"
    else:
        gain = f"scaling by the hour saves {100 * made.saving:.1f} % only; whole instances remain"
    lead, start_s = made.shortest_lead_s, made.cold_start.seconds
    if lead is None or lead >= start_s:
        return f"{gain}; every rise leaves time to start servers after it is seen"
    return (
        f"{gain}, if servers are ordered ahead, on a schedule: the fastest rise outgrows the "
        f"running servers in {minutes(lead)}, a new one takes {minutes(start_s)}; ordered only "
        f"when the load is there, {100 * made.late_share:.1f} % of requests would meet too few"
    )


def minutes(seconds: float) -> str:
    """Return a time in minutes.

    Examples:
        >>> minutes(90.0)
        '1.5 min'
    """
    return f"{seconds * MINUTES_PER_HOUR / SECONDS_PER_HOUR:.1f} min"
