"""Charts of one server's curves: curves in, rows and charts out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import Final

import altair as alt
import numpy as np
import pandas as pd

from fitcalc import Slo
from fitcalc.planning.curves import RateCurve, Roofline, StepCurve
from fitcalc.units import TERA
from palette import BLUE, GREEN, GREY, RED, SERIES

HEIGHT: Final = 380
"""Axes and legend together. [px]"""
LOW: Final = "mean, low (ms)"
HIGH: Final = "mean, high (ms)"
"""The ends of the 80 % interval of the mean, which every line's point shows."""
_LINES: Final = {
    "with others' prompts": "mean_ms",
    "decodes alone": "alone_ms",
    "beside a prompt": "chunk_ms",
}
_PERCENTILES: Final = ("p50", "p90", "p95", "p99")
_PART: Final = {
    "gemm": "matrix products",
    "experts": "experts",
    "attention_decode": "attention (KV reads)",
    "lm_head": "output layer",
    "glue": "norms, sampling",
    "link": "links between GPUs",
    "host": "host",
    "launch": "kernel launches",
    "prompts": "other requests' prompts",
}
"""The parts of a gap in words, from the bottom of the stack."""
_BELOW: Final = alt.Legend(orient="bottom", columns=2, labelLimit=240, symbolStrokeWidth=3)
_FIVE: Final = alt.Legend(orient="bottom", columns=5, symbolStrokeWidth=3)
_LOG: Final = alt.Scale(type="log", nice=False, padding=8)
_FEW: Final = alt.Axis(tickCount=4)


def gap_frame(curve: StepCurve) -> pd.DataFrame:
    """Gaps between tokens at each batch size, a row for each line's point. [ms]"""
    low, high = curve.interval_ms
    lines = [
        pd.DataFrame({
            "batch": curve.batch, "gap": name, "ITL (ms)": getattr(curve, field),
            LOW: low, HIGH: high,
        })
        for name, field in _LINES.items()
    ]  # fmt: skip
    return pd.concat(lines, ignore_index=True)


def gap_chart(frame: pd.DataFrame, slo: Slo, batch: float | None) -> alt.LayerChart:
    """ITL against batch, the promise as a line, and where the server is now."""
    x = alt.X("batch:Q", title="requests decoding at once (batch)", scale=_LOG, axis=_FEW)
    y = alt.Y("ITL (ms):Q", title="time between tokens, ITL (ms)", scale=_LOG, axis=_FEW)
    tips = [
        alt.Tooltip("gap"),
        alt.Tooltip("batch:Q", format=",.0f"),
        *_tenths("ITL (ms)", LOW, HIGH),
    ]
    lines = alt.Chart(frame).mark_line().encode(
        x, y,
        alt.Color("gap:N", title=None, sort=list(_LINES), scale=_scale(_LINES), legend=_BELOW),
        alt.StrokeDash("gap:N", title=None, sort=list(_LINES), legend=_BELOW), tooltip=tips,
    )  # fmt: skip
    means = frame[frame["gap"] == next(iter(_LINES))]
    layers = [_band(means, x, y), lines, _hover(lines)]
    layers.append(level(slo.itl_ms, f"promise {slo.itl_ms:g} ms"))
    if batch is not None:
        layers += _mark_x(max(batch, 1.0), f"now {batch:,.1f}", GREY)
    return _layered(layers)


def rate_frame(curve: RateCurve) -> pd.DataFrame:
    """TTFT percentiles at each rate, a row for each line's point. [ms]"""
    return pd.DataFrame(
        {
            "requests/s": point.qps,
            "TTFT": name,
            "ms": getattr(point.ttft, name),
            LOW: point.interval_ms[0],
            HIGH: point.interval_ms[1],
            "batch": point.batch,
        }
        for name in ("mean", *_PERCENTILES)
        for point in curve.points
    )


def rate_chart(frame: pd.DataFrame, curve: RateCurve, slo: Slo, qps: float) -> alt.LayerChart:
    """TTFT percentiles against rate, the knee, the promise, and where the server is now."""
    names = ["mean", *_PERCENTILES]
    x = alt.X("requests/s:Q", title="requests per second (1/s)")
    y = alt.Y("ms:Q", title="time to first token, TTFT (ms)", scale=_LOG, axis=_FEW)
    tips = [
        alt.Tooltip("TTFT"),
        alt.Tooltip("requests/s:Q", format=".3g"),
        *_tenths("ms", LOW, HIGH),
        alt.Tooltip("batch:Q", format=",.1f"),
    ]
    lines = alt.Chart(frame).mark_line().encode(
        x, y, alt.Color("TTFT:N", title=None, sort=names, scale=_scale(names),
                        legend=_FIVE),
        alt.StrokeDash("TTFT:N", title=None, sort=names, legend=_FIVE), tooltip=tips,
    )  # fmt: skip
    layers = [
        _band(frame[frame["TTFT"] == "mean"], x, y),
        lines,
        _hover(lines),
        level(slo.ttft_ms, f"promise {slo.ttft_ms:g} ms"),
    ]
    if curve.goodput > 0:
        layers += _mark_x(curve.goodput, f"knee {curve.goodput:.3g}/s", GREEN, low=True)
    if qps < curve.capacity:
        layers += _mark_x(qps, f"now {qps:.3g}/s", GREY)
    return _layered(layers)


def parts_frame(curve: StepCurve) -> pd.DataFrame:
    """What the mean gap is made of at each batch size. [ms]"""
    found = [(part, curve.parts_ms[part]) for part in _PART if part in curve.parts_ms]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "batch": curve.batch,
                    "part": _PART[part],
                    "ms": ms,
                    "share": ms / curve.mean_ms,
                    "order": i,
                }
            )
            for i, (part, ms) in enumerate(found)
        ],
        ignore_index=True,
    )


def parts_chart(frame: pd.DataFrame) -> alt.Chart:
    """Where the milliseconds of a gap go, stacked."""
    names = list(frame["part"].unique())
    chart: alt.Chart = alt.Chart(frame, height=HEIGHT).mark_area(opacity=0.9).encode(
        alt.X("batch:Q", title="requests decoding at once (batch)"),
        alt.Y("ms:Q", title="mean ITL (ms)", stack="zero"),
        alt.Color("part:N", title=None, sort=names, scale=_scale(names), legend=_BELOW),
        alt.Order("order:O"),
        tooltip=[alt.Tooltip("part"), alt.Tooltip("batch:Q", format=",.0f"), *_tenths("ms"),
                 alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    return chart


def roof_frame(roof: Roofline) -> pd.DataFrame:
    """Each step's intensity and speed, beside what the ceilings allow it."""
    allowed = np.minimum(roof.peak_flops, roof.intensity * roof.bandwidth)
    kinds = [name.split(",")[0] for name in roof.names]
    return pd.DataFrame({
        "step": roof.names, "kind": kinds, "FLOP/B": roof.intensity, "TFLOP/s": roof.flops / TERA,
        "ceiling (TFLOP/s)": allowed / TERA, "share of ceiling": roof.flops / allowed,
    })  # fmt: skip


def roof_chart(frame: pd.DataFrame, roof: Roofline) -> alt.LayerChart:
    """Prefill and decode under one GPU's ceilings, both axes by powers."""
    ridge = roof.peak_flops / roof.bandwidth
    ends = [min(0.5, frame["FLOP/B"].min() / 2), ridge, max(10 * ridge, 2 * frame["FLOP/B"].max())]
    line = pd.DataFrame({
        "FLOP/B": ends,
        "TFLOP/s": [min(roof.peak_flops, x * roof.bandwidth) / TERA for x in ends],
        "ceiling": [f"memory {roof.bandwidth / TERA:.3g} TB/s", "ridge",
                    f"peak {roof.peak_flops / TERA:,.0f} TFLOP/s"],
    })  # fmt: skip
    x = alt.X("FLOP/B:Q", title="work for each byte of memory traffic (FLOP/B)",
              scale=alt.Scale(type="log", domain=[ends[0], ends[-1]], nice=False))  # fmt: skip
    y = alt.Y("TFLOP/s:Q", title="reached on each GPU (TFLOP/s)", scale=_LOG, axis=_FEW)
    ceilings = alt.Chart(line).mark_line(color=GREY, strokeWidth=2).encode(
        x, y, tooltip=[alt.Tooltip("ceiling"), alt.Tooltip("TFLOP/s:Q", format=",.1f")]
    )  # fmt: skip
    kinds = ["decode", "prefill"]
    points = alt.Chart(frame).mark_point(filled=True, size=90, opacity=1).encode(
        x, y,
        alt.Color("kind:N", title=None, sort=kinds, scale=_scale(kinds), legend=_BELOW),
        alt.Shape("kind:N", title=None, sort=kinds, legend=_BELOW),
        tooltip=[alt.Tooltip("step"), *_tenths("FLOP/B", "TFLOP/s", "ceiling (TFLOP/s)"),
                 alt.Tooltip("share of ceiling:Q", format=".0%")],
    )  # fmt: skip
    return _layered([ceilings, points])


def _band(means: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    """The 80 % interval of a mean, on the axes of its line."""
    low = y.copy()
    low.shorthand = f"{LOW}:Q"
    band: alt.Chart = alt.Chart(means).mark_area(opacity=0.3, color=BLUE).encode(
        x, low, alt.Y2(f"{HIGH}:Q")
    )  # fmt: skip
    return band


def _hover(lines: alt.Chart) -> alt.Chart:
    """Wide, unseen points that a finger or a mouse finds."""
    points: alt.Chart = lines.mark_point(size=150, opacity=0)
    return points


def level(ms: float, words: str) -> alt.Chart:
    """Draw a promise as a line across a chart."""
    frame = pd.DataFrame({"ms": [ms], "limit": [words]})
    rule: alt.Chart = alt.Chart(frame).mark_rule(color=RED, strokeDash=[6, 4], size=2).encode(
        alt.Y("ms:Q"), tooltip=alt.Tooltip("limit")
    )  # fmt: skip
    return rule


def _mark_x(at: float, words: str, colour: str, *, low: bool = False) -> list[alt.Chart]:
    """Mark a place on the x axis, named at the top or the bottom of the chart."""
    base = alt.Chart(pd.DataFrame({"at": [at], "words": [words]})).encode(alt.X("at:Q"))
    rule = base.mark_rule(color=colour, size=2).encode(tooltip=alt.Tooltip("words"))
    text = base.mark_text(
        color=colour,
        align="right",
        dx=-5,
        dy=-6 if low else 18,
        baseline="bottom" if low else "top",
    ).encode(alt.YValue("height" if low else 0), alt.Text("words"))  # type: ignore[no-untyped-call]
    return [rule, text]


def _tenths(*fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{field}:Q", format=",.1f") for field in fields]


def _scale(names: Iterable[str]) -> alt.Scale:
    known = list(names)
    return alt.Scale(domain=known, range=[colour for _, colour in zip(known, cycle(SERIES))])


def _layered(layers: list[alt.Chart]) -> alt.LayerChart:
    return alt.LayerChart(layer=layers, height=HEIGHT)
