"""A simulation over time, and ways to batch: answers in, charts out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import altair as alt
import pandas as pd

from fitcalc.simulation.batching import Batching, BatchingRun
from fitcalc.simulation.over_time import Course, Waits
from fitcalc.simulation.quantiles import percentiles
from fitcalc.units import MILLI
from latency_charts import level
from palette import BLUE, ORANGE

_HEIGHT: Final = 190
"""Of one course. [px]"""
COURSES: Final = (
    ("arrivals", "requests sent (1/s)"),
    ("queue", "waiting (requests)"),
    ("batch", "running (sequences)"),
    ("kv_usage", "KV cache in use (%)"),
    ("output_tokens", "output (tokens/s)"),
    ("preemptions", "preempted (1/s)"),
)


def course_frame(seen: Course) -> pd.DataFrame:
    """Return what the servers did over time, a column each."""
    frame = pd.DataFrame({"time (s)": seen.time_s})
    for name, title in COURSES:
        frame[title] = getattr(seen, name)
    frame["KV cache in use (%)"] *= 100.0
    return frame


def course_chart(frame: pd.DataFrame, title: str) -> alt.Chart:
    """Plot one column over time."""
    chart: alt.Chart = (
        alt.Chart(frame, height=_HEIGHT)
        .mark_area(line={"color": BLUE}, color=BLUE, opacity=0.25)
        .encode(
            x=alt.X("time (s):Q"),
            y=alt.Y(f"{title}:Q", title=title, axis=alt.Axis(tickCount=4, format=",~g")),
            tooltip=[alt.Tooltip(name, format=",.2f") for name in ("time (s)", title)],
        )
    )
    return chart


def waits_frame(seen: Waits) -> pd.DataFrame:
    """Return the first token's percentiles by the time of sending. [ms]"""
    rows = (("p50", seen.p50_s), ("p95", seen.p95_s))
    frame = pd.concat(
        pd.DataFrame({
            "sent at (s)": seen.time_s, "percentile": name, "first token (ms)": s / MILLI,
        })
        for name, s in rows
    )  # fmt: skip
    return frame.dropna()


def waits_chart(frame: pd.DataFrame, promise_ms: float) -> alt.LayerChart | alt.FacetChart:
    """Plot them with the promise."""
    names, colours = ["p50", "p95"], [BLUE, ORANGE]
    lines = (
        alt.Chart(frame, height=2 * _HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X("sent at (s):Q"),
            y=alt.Y(
                "first token (ms):Q", title="time to first token, TTFT (ms)",
                scale=alt.Scale(type="log", nice=False, padding=8), axis=alt.Axis(tickCount=4),
            ),
            color=alt.Color(
                "percentile:N", scale=alt.Scale(domain=names, range=colours),
                legend=alt.Legend(orient="bottom"),
            ),
            strokeDash=alt.StrokeDash("percentile:N", legend=None),
            tooltip=[alt.Tooltip("percentile"), alt.Tooltip("sent at (s)", format=",.1f"),
                     alt.Tooltip("first token (ms)", format=",.1f")],
        )
    )  # fmt: skip
    return alt.LayerChart(layer=[lines, level(promise_ms, f"promise {promise_ms:g} ms")])


def batching_frame(runs: Mapping[Batching, BatchingRun]) -> pd.DataFrame:
    """Return the ways to batch side by side."""
    rows = []
    for name, run in runs.items():
        first = percentiles(run.first_token_s - run.arrival_s)
        whole = percentiles(run.finish_s - run.arrival_s)
        rows.append({
            "batching": name.value,
            "TTFT mean (ms)": first.mean,
            "E2E mean (ms)": whole.mean,
            "E2E p99 (ms)": whole.p99,
            "tokens computed": run.computed_tokens,
            "wasted (%)": 100.0 * run.waste,
            "requests/s": len(run.finish_s) / run.duration_s,
        })  # fmt: skip
    return pd.DataFrame(rows)
