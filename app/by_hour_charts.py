"""Servers and money over a day or a week: a plan's day in, rows and charts out."""

from __future__ import annotations

from typing import Final

import altair as alt
import pandas as pd

from fitcalc.planning.choice import Hosted
from fitcalc.planning.daily import Day
from fitcalc.units import MEGA
from palette import BLUE, GREEN, ORANGE

STATIC: Final = "for the peak"
SCALED: Final = "by the hour"
_HEIGHT: Final = 320
"""Axes and legend together. [px]"""
_MOST_HOSTS: Final = 3
_HOUR: Final = alt.X("hour:Q", title="time (h)", axis=alt.Axis(tickMinStep=1))
_BELOW: Final = alt.Legend(orient="bottom", columns=2, symbolStrokeWidth=3)


def servers_frame(day: Day) -> pd.DataFrame:
    """Return servers paid for in the mean of each hour, a row for each way. [1]"""
    static = day.static.server_hours / len(day.hours)
    return pd.DataFrame(
        {
            "hour": hour.hour, "way": way, "servers": servers, "requests": hour.requests,
            "peak rate (1/s)": hour.peak_per_s,
        }
        for hour in day.hours
        for way, servers in ((STATIC, static), (SCALED, hour.server_hours))
    )  # fmt: skip


def servers_chart(frame: pd.DataFrame) -> alt.Chart:
    """Plot servers over time: as many as the peak takes, and as many as the hour does."""
    tips = [
        alt.Tooltip("requests:Q", format=",.0f"),
        alt.Tooltip("peak rate (1/s):Q", format=",.1f"),
    ]
    return _steps(frame, alt.Y("servers:Q", title="servers paid for (count)"), tips)


def money_frame(day: Day, hosted: Hosted | None) -> pd.DataFrame:
    """Return what each hour costs, a row for each way that has a price. [USD]"""
    per_hour = None if day.static.usd is None else day.static.usd / len(day.hours)
    rows: list[dict[str, str | float | None]] = []
    for hour in day.hours:
        ways = [(STATIC, per_hour), (SCALED, hour.usd)]
        if hosted is not None:
            share = hour.requests / day.requests
            ways.append((_api(hosted), hosted.hosts[0].usd_per_hour * len(day.hours) * share))
        rows += [{"hour": hour.hour, "way": way, "USD/h": usd} for way, usd in ways]
    return pd.DataFrame(rows).dropna()


def money_chart(frame: pd.DataFrame) -> alt.Chart:
    """Plot what each hour costs, servers beside an API."""
    return _steps(frame, alt.Y("USD/h:Q", title="cost (USD/h)"), [])


def totals_frame(day: Day, hosted: Hosted | None, name: str, tokens: float) -> pd.DataFrame:
    """Return the sums of the whole profile, a row for each way.

    Args:
        day: The servers.
        hosted: Prices of hosts, the cheapest first.
        name: Of what it lasts.
        tokens: Of a request, input and output. [tokens]
    """
    unit = f"USD a {name}"
    own = [
        {
            "way": way, "server hours": fleet.server_hours, unit: fleet.usd,
            "USD/Mtok": fleet.usd_per_million_tokens, "idle (%)": 100.0 * fleet.idle_share,
        }
        for way, fleet in ((STATIC, day.static), (SCALED, day.scaled))
    ]  # fmt: skip
    hosts = hosted.hosts[:_MOST_HOSTS] if hosted else ()
    sums = ((host, host.usd_per_hour * len(day.hours)) for host in hosts)
    rented = [
        {"way": f"API of {host.host}", unit: usd, "USD/Mtok": usd / day.requests / tokens * MEGA}
        for host, usd in sums
    ]
    return pd.DataFrame([*own, *rented])


def _api(hosted: Hosted) -> str:
    return f"API of {hosted.hosts[0].host}"


def _steps(frame: pd.DataFrame, y: alt.Y, tips: list[alt.Tooltip]) -> alt.Chart:
    """Draw a step line for each way."""
    ways = list(frame["way"].unique())
    known = {STATIC: ORANGE, SCALED: BLUE}
    hues = alt.Scale(domain=ways, range=[known.get(way, GREEN) for way in ways])
    end = frame[frame["hour"] == frame["hour"].max()].assign(hour=frame["hour"].max() + 1)
    drawn = pd.concat([frame, end])  # the last hour has an end too
    value = alt.Tooltip(y.shorthand, format=",.2f")
    chart: alt.Chart = alt.Chart(drawn, height=_HEIGHT).mark_line(
        interpolate="step-after", point={"size": 60, "opacity": 0}
    ).encode(
        _HOUR, y, alt.Color("way:N", title=None, sort=ways, scale=hues, legend=_BELOW),
        alt.StrokeDash("way:N", title=None, sort=ways, legend=_BELOW),
        tooltip=[alt.Tooltip("way"), alt.Tooltip("hour:Q", title="hour"), value, *tips],
    )  # fmt: skip
    return chart
