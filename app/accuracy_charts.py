"""Measured against predicted: rows in, charts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import altair as alt
import pandas as pd

from fitcalc.catalog.accuracy import MeasuredRun
from palette import GREY, SERIES

BAND: Final = 0.1
"""Share off that the band shows. [1]"""
METRICS: Final = {"tpot": "time per output token", "ttft": "time to first token"}
_SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_HEIGHT: Final = 420
"""Of the scatter. [px]"""


def runs_frame(runs: Sequence[MeasuredRun], metric: str) -> pd.DataFrame:
    """Return the runs with one metric measured and predicted. [ms]"""
    frame = pd.DataFrame(run._asdict() for run in runs)
    measured, said = frame[f"{metric}_ms"], frame[f"predicted_{metric}_ms"]
    return pd.DataFrame({
        "model": frame["model"],
        "format": frame["format"],
        "GPU": frame["gpu"],
        "GPUs": frame["tensor_parallel_size"],
        "isl (tokens)": frame["isl"],
        "osl (tokens)": frame["osl"],
        "clients": frame["clients"],
        "measured (ms)": measured,
        "predicted (ms)": said,
        "off (%)": 100.0 * (said / measured - 1.0),
    })  # fmt: skip


def scatter(frame: pd.DataFrame, metric: str) -> alt.LayerChart | alt.FacetChart:
    """Plot predicted against measured with a band of 10 %; logarithmic. [ms]"""
    ends = [
        min(frame["measured (ms)"].min(), frame["predicted (ms)"].min()) * 0.9,
        max(frame["measured (ms)"].max(), frame["predicted (ms)"].max()) * 1.1,
    ]
    line = pd.DataFrame(
        {
            "x": ends,
            "low": [e * (1.0 - BAND) for e in ends],
            "high": [e * (1.0 + BAND) for e in ends],
        }
    )
    scale = alt.Scale(type="log", domain=ends, nice=False)
    band = alt.Chart(line).mark_area(opacity=0.2, color=GREY, clip=True).encode(
        alt.X("x:Q", scale=scale), alt.Y("low:Q", scale=scale), alt.Y2("high:Q")
    )  # fmt: skip
    even = alt.Chart(line).mark_line(color=GREY).encode(
        alt.X("x:Q", scale=scale), alt.Y("x:Q", scale=scale)
    )  # fmt: skip
    names = sorted(frame["GPU"].unique())
    points = alt.Chart(frame, height=_HEIGHT).mark_point(filled=True, size=55, opacity=0.75).encode(
        x=alt.X("measured (ms):Q", scale=scale, title=f"{METRICS[metric]}, measured (ms)"),
        y=alt.Y("predicted (ms):Q", scale=scale, title=f"{METRICS[metric]}, predicted (ms)"),
        color=alt.Color("GPU:N", scale=alt.Scale(domain=names, range=SERIES[: len(names)]),
                        legend=alt.Legend(orient="bottom")),
        shape=alt.Shape("GPU:N", scale=alt.Scale(domain=names, range=_SHAPES[: len(names)])),
        tooltip=[*map(alt.Tooltip, frame.columns[:7]),
                 *(alt.Tooltip(c, format=",.1f") for c in frame.columns[7:])],
    )  # fmt: skip
    return alt.LayerChart(layer=[band, even, points])


def errors_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean and median error by model, format and GPU. [%]"""
    off = frame.assign(off=frame["off (%)"].abs()).groupby(["model", "format", "GPU"])["off"]
    made = off.agg(["size", "mean", "median"]).reset_index()
    return made.rename(
        columns={"size": "runs", "mean": "mean error (%)", "median": "median error (%)"}
    )
