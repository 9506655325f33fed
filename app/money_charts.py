"""What else a plan's money could buy: hosted APIs as rows, servers over the day as a chart."""

from __future__ import annotations

from typing import Final

import altair as alt
import pandas as pd

from fitcalc.planning.choice import Choice, Hosted
from fitcalc.planning.daily import Day
from palette import BLUE, ORANGE

_HEIGHT: Final = 300
_NEEDED, _PEAK = "servers that the hour needs", "servers for the peak"


def hosted_frame(beside: Hosted, choice: Choice) -> pd.DataFrame:
    """Return a row for each host of the model, the cheapest for this traffic first."""
    money = choice.usd_per_hour
    return pd.DataFrame(
        {
            "host": one.host,
            "USD an hour": one.usd_per_hour,
            "of the servers' cost (%)": 100.0 * one.usd_per_hour / money if money else None,
            "USD per million input": one.usd_per_million_input_tokens,
            "USD per million output": one.usd_per_million_output_tokens,
            "seen": one.checked,
            "its name there": one.name,
        }
        for one in beside.hosts
    )


def hours_frame(found: Day) -> pd.DataFrame:
    """Return a row for each hour of the day or week."""
    return pd.DataFrame(
        {
            "hour": one.hour,
            "requests": one.requests,
            "peak (req/s)": one.peak_per_s,
            "servers": one.replicas,
            "server hours": one.server_hours,
            "USD": one.usd,
        }
        for one in found.hours
    )


def hours_chart(frame: pd.DataFrame, peak: int) -> alt.LayerChart | alt.FacetChart:
    """Draw the servers of each hour beside as many as the peak takes."""
    tips = [
        alt.Tooltip(name, format=",.4~g") for name in frame.columns if not frame[name].isna().any()
    ]
    colour = alt.Color(
        "said:N", title=None, legend=alt.Legend(orient="top", columns=1),
        scale=alt.Scale(domain=[_NEEDED, _PEAK], range=[BLUE, ORANGE]),
    )  # fmt: skip
    rows = frame.assign(until=frame["hour"] + 1, said=_NEEDED)
    bars = alt.Chart(rows).mark_rect(opacity=0.8).encode(
        x=alt.X("hour:Q", title="time (h)"), x2=alt.X2("until"), tooltip=tips, color=colour,
        y=alt.Y("servers:Q", title="servers", axis=alt.Axis(tickMinStep=1)), y2=alt.Y2Datum(0),
    )  # fmt: skip
    line = alt.Chart(pd.DataFrame({"servers": [peak], "said": [_PEAK]}))
    rule = line.mark_rule(strokeDash=[6, 4], strokeWidth=2).encode(
        y=alt.Y("servers:Q"), color=colour
    )
    return alt.LayerChart(layer=[bars, rule], height=_HEIGHT)
