"""Servers over the day in words and rows."""

from __future__ import annotations

from collections.abc import Sequence

from fitcalc.planning.daily import Day, Fleet, Hour
from fitcalc.planning.day import minutes
from fitcalc.report.words import number, usd

_PERCENT = 100.0
_HOURS_A_DAY = 24
FLEET_COLUMNS = ("servers", "server hours", "cost", "$/Mtok", "idle")


def hour_columns(found: Day) -> tuple[str, ...]:
    """Return what the rows of ``hour_rows`` are."""
    first = "hour" if len(found.hours) <= _HOURS_A_DAY else "day"
    return (first, "requests", "peak req/s", "servers", "server hours", "cost")


def hour_rows(found: Day) -> list[tuple[str, ...]]:
    """Return a row an hour, or a day where there are more."""
    if len(found.hours) <= _HOURS_A_DAY:
        return [_row(f"{one.hour:02d}:00", [one]) for one in found.hours]
    days = range(0, len(found.hours), _HOURS_A_DAY)
    return [_row(str(i // _HOURS_A_DAY + 1), found.hours[i : i + _HOURS_A_DAY]) for i in days]


def _row(name: str, hours: Sequence[Hour]) -> tuple[str, ...]:
    few, many = min(h.replicas for h in hours), max(h.replicas for h in hours)
    money = [h.usd for h in hours if h.usd is not None]
    return (
        name,
        f"{sum(h.requests for h in hours):,.0f}",
        number(max(h.peak_per_s for h in hours)),
        str(many) if few == many else f"{few} to {many}",
        f"{sum(h.server_hours for h in hours):,.1f}",
        usd(sum(money)) if len(money) == len(hours) else "-",
    )


def fleet_rows(found: Day) -> list[tuple[str, ...]]:
    """Return static sizing beside scaling."""
    return [_fleet("for the peak", found.static), _fleet("by the hour", found.scaled)]


def _fleet(name: str, one: Fleet) -> tuple[str, ...]:
    return (
        name,
        f"{one.server_hours:,.0f}",
        usd(one.usd),
        usd(one.usd_per_million_tokens, 3),
        f"{_PERCENT * one.idle_share:.0f} %",
    )


def day_lines(found: Day) -> tuple[str, ...]:
    """Say what comes, whether scaling helps, and what a new server takes."""
    start = found.cold_start
    parts = (
        f" (an estimate: node {minutes(start.node_s)}, boot {minutes(start.boot_s)}, weights "
        f"{minutes(start.weights_s)}, engine {minutes(start.engine_s)} without a compile cache)"
        if start.estimated
        else ""
    )
    lines = [
        _load(found),
        f"{found.verdict[:1].upper()}{found.verdict[1:]}.",
    ]
    lines.append(
        f"An autoscaler holds each server at {number(found.target_per_s)} req/s, "
        f"{found.min_replicas} to {found.max_replicas} servers; a new one takes "
        f"{minutes(start.seconds)}{parts}."
    )
    if found.over_share > 0:
        share = f"{_PERCENT * found.over_share:.1f} %"
        lines.append(f"{share} of the requests come when {found.max_replicas} servers are too few.")
    return tuple(lines)


def _load(found: Day) -> str:
    """Say what comes."""
    return (
        f"{found.requests:,.0f} requests in {len(found.hours)} hours, {number(found.mean_per_s)} "
        f"req/s in the mean and {number(found.peak_per_s)} at the peak."
    )
