"""The choices of a plan as rows, and as cost against latency."""

from __future__ import annotations

from typing import Final

import altair as alt
import pandas as pd

from fitcalc.answers import Limit
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.lost import case_words
from fitcalc.report.words import BINDS, LIMIT, amount, gpu_name, layout, number
from palette import BLUE, GREEN, GREY, ORANGE

CHOICE: Final = "choice"
PICK: Final = "pick"
"""Name of the selection that a click on a point makes."""
LATENCIES: Final = {
    Limit.TTFT: "first token (TTFT)",
    Limit.ITL: "between tokens (ITL)",
    Limit.E2E: "whole request (E2E)",
}
_HEIGHT = 360
_BEST, _FRONT, _BEATEN = "the answer", "best at its price", "dearer and slower than another"
_STANDINGS = (_BEST, _FRONT, _BEATEN)


def choices_of(plan: Plan) -> dict[str, Choice]:
    """Return the best choice and the runners-up by their names, in order of cost."""
    every = (*((plan.best,) if plan.best else ()), *plan.alternatives)
    return {choice_name(choice): choice for choice in every}


def choice_name(choice: Choice) -> str:
    """Name a choice, as no other of its plan is named."""
    engine = choice.engine
    split = layout(engine).replace(" x ", " ")
    return f"{choice.gpu} {split} {engine.weight_format}"


def choices_frame(plan: Plan) -> pd.DataFrame:
    """Return a row for each choice."""
    slo = plan.question.slo
    return pd.DataFrame(
        {
            CHOICE: name,
            "GPU": gpu_name(choice.gpu),
            "GPUs": choice.gpu_count,
            "servers": f"{choice.replicas} x {layout(choice.engine)}",
            "format": choice.engine.weight_format,
            "KV cache": choice.engine.kv_cache_dtype,
            "USD/h": choice.usd_per_hour,
            "USD/Mtok": choice.usd_per_million_tokens,
            **{
                latency_column(plan, limit): felt(choice, limit, slo.at(limit))
                for limit in LATENCIES
            },
            "mean TTFT, 8 of 10": between(choice.prediction.interval.ttft_ms),
            "mean TPOT, 8 of 10": between(choice.prediction.interval.tpot_ms),
            "binds": BINDS[choice.prediction.bottleneck],
            "numbers": choice.prediction.calibrated.value,
        }
        for name, choice in choices_of(plan).items()
    )


def felt(choice: Choice, limit: Limit, percentile: float) -> float:
    """Return one latency of a choice at a percentile. [ms]"""
    found = choice.prediction
    rows = {Limit.TTFT: found.ttft_ms, Limit.ITL: found.itl_ms, Limit.E2E: found.e2e_ms}
    return rows[limit].at(percentile)


def between(interval: tuple[float, float]) -> str:
    """Write an interval. [ms]"""
    return f"{number(interval[0])} to {number(interval[1])} ms"


def standing(plan: Plan, limit: Limit) -> pd.DataFrame:
    """Return the choices that have a price, and how each stands in cost and this latency.

    A choice is best at its price where none that costs as much or less is faster.
    """
    frame = choices_frame(plan).dropna(subset=["USD/h"])
    column = latency_column(plan, limit)
    frame = frame.sort_values(["USD/h", column])
    front = frame[column] < frame[column].cummin().shift(fill_value=float("inf"))
    frame["standing"] = front.map({True: _FRONT, False: _BEATEN})
    if plan.best is not None:
        frame.loc[frame[CHOICE] == choice_name(plan.best), "standing"] = _BEST
    ends = front & (
        (frame["USD/h"] == frame["USD/h"].min()) | (frame[column] == frame[column].min())
    )
    return frame.assign(front=front, end=ends, latency=frame[column])


def latency_column(plan: Plan, limit: Limit) -> str:
    """Name a latency's column in the rows of a plan."""
    return f"{limit.value.upper()} p{plan.question.slo.at(limit):g} (ms)"


def choices_chart(plan: Plan, frame: pd.DataFrame, limit: Limit) -> alt.LayerChart | alt.FacetChart:
    """Draw cost against one latency: a point a choice, the front as a line, the promise dashed."""
    slo = plan.question.slo
    words = f"{LATENCIES[limit]}, p{slo.at(limit):g} (ms)"
    axis = alt.Axis(labelOverlap="greedy", labelSeparation=8)
    scale = alt.Scale(type="log", padding=26, nice=False)
    x = alt.X("USD/h:Q", title="cost (USD/h)", scale=scale, axis=axis)
    y = alt.Y("latency:Q", title=words, scale=scale, axis=axis)
    hidden = {"front", "end", "latency", CHOICE}
    pick = alt.selection_point(name=PICK, fields=[CHOICE], on="click")
    base = alt.Chart(frame)
    on_front = base.transform_filter("datum.front")
    points = base.mark_point(filled=True, size=130, opacity=0.95).encode(
        x, y,
        color=alt.Color(
            "standing:N", title=None, legend=alt.Legend(orient="top", columns=1, labelLimit=320),
            scale=alt.Scale(domain=_STANDINGS, range=[GREEN, BLUE, GREY]),
        ),
        shape=alt.Shape("standing:N", title=None, scale=alt.Scale(
            domain=_STANDINGS, range=["diamond", "circle", "square"],
        )),
        size=alt.SizeValue(**alt.condition(pick, alt.value(220), alt.value(110), empty=False)),
        tooltip=[alt.Tooltip(name, format=",.4~g") if kind != "O" else alt.Tooltip(name)
                 for name, kind in _tips(frame, hidden)],
    ).add_params(pick)  # fmt: skip
    layers = [on_front.mark_line(color=BLUE, interpolate="step-after", opacity=0.5).encode(x, y)]
    promised = {Limit.TTFT: slo.ttft_ms, Limit.ITL: slo.itl_ms, Limit.E2E: slo.e2e_ms}[limit]
    if promised is not None:
        line = alt.Chart(pd.DataFrame({"latency": [promised], "words": ["promised"]}))
        layers += [
            line.mark_rule(color=ORANGE, strokeDash=[6, 4], strokeWidth=2).encode(y),
            line.mark_text(align="left", x=4, dy=-7, color=ORANGE).encode(y, alt.Text("words")),
        ]
    ends, first = base.transform_filter("datum.end"), f"datum['USD/h'] == {frame['USD/h'].min()}"
    names = [
        some.encode(x, y, alt.Text(f"{CHOICE}:N"))
        for some in (
            ends.transform_filter(first).mark_text(align="left", dx=-5, dy=-14, color=GREY),
            ends.transform_filter(f"!({first})").mark_text(dy=16, color=GREY),
        )
    ]
    return alt.LayerChart(layer=[*layers, *names, points], height=_HEIGHT)


def _tips(frame: pd.DataFrame, hidden: set[str]) -> list[tuple[str, str]]:
    return [
        (str(name), "O" if frame[name].dtype == object else "Q")
        for name in frame.columns
        if name not in hidden
    ]


def rejections_frame(plan: Plan) -> pd.DataFrame:
    """Return every configuration that lost, and why."""
    return pd.DataFrame(
        {
            "GPU": gpu_name(lost.gpu),
            "configuration": case_words(lost),
            "because": LIMIT[lost.limit],
            "needs": amount(lost.limit, lost.needed),
            "has": amount(lost.limit, lost.available),
            "why": lost.reason,
        }
        for lost in plan.rejections
    )
