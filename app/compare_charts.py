"""Two servers side by side: predictions in, rows and charts out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import altair as alt
import pandas as pd

from charts import PARTS, ledger_frame
from fitcalc import Prediction, Slo
from fitcalc.answers import Limit
from fitcalc.planning.cost import bill_per_million
from fitcalc.report.words import number
from fitcalc.units import GIB
from latency_charts import HIGH, LOW, level
from palette import BLUE, ORANGE
from predicted import Predicted
from rate import OneLoad

_HEIGHT: Final = 360
"""Axes and legend together. [px]"""
_BARS: Final = 260
"""Two bars, their axis and legend. [px]"""
_COLOURS: Final = {"A": BLUE, "B": ORANGE}
_LOG: Final = alt.Scale(type="log", nice=False, padding=8)
_FEW: Final = alt.Axis(tickCount=4)


class Figure(NamedTuple):
    """One figure of a server, and where 8 of 10 such servers are expected."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None


def figures(answer: Predicted, load: OneLoad, slo: Slo) -> list[Figure]:
    """Return what is compared, the same rows for every server."""
    rates, memory, bill = answer.rates, answer.memory, answer.bill
    tokens_per_s = rates.goodput * (load.isl + load.osl)
    carried = bill_per_million(bill, tokens_per_s) if tokens_per_s else None
    kv = memory.kv_cache_bytes_p10 / GIB, memory.kv_cache_bytes_p90 / GIB
    return [
        Figure("queue grows from (1/s)", rates.capacity),
        Figure("promise holds up to (1/s)", rates.goodput),
        Figure("cost at this rate (USD/Mtok)", carried),
        Figure("cost (USD/h)", bill.usd_per_hour if bill else None),
        *_felt(answer.found if isinstance(answer.found, Prediction) else None, slo),
        Figure("KV cache a GPU (GiB)", memory.kv_cache_bytes / GIB, kv),
        Figure("KV cache (tokens)", memory.kv_cache_tokens),
    ]


def _felt(found: Prediction | None, slo: Slo) -> list[Figure]:
    """Return what users feel at the rate; empty figures where it is too high."""
    ttft, itl = slo.at(Limit.TTFT), slo.at(Limit.ITL)
    names = (
        "first token, mean (ms)", f"first token, p{ttft:g} (ms)",
        "per token, mean (ms)", f"between tokens, p{itl:g} (ms)",
    )  # fmt: skip
    if found is None:
        return [Figure(name, None) for name in names]
    return [
        Figure(names[0], found.ttft_ms.mean, found.interval.ttft_ms),
        Figure(names[1], found.ttft_ms.at(ttft)),
        Figure(names[2], found.tpot_ms.mean, found.interval.tpot_ms),
        Figure(names[3], found.itl_ms.at(itl)),
    ]


def figures_frame(sides: Mapping[str, list[Figure]]) -> pd.DataFrame:
    """Return figures in columns, each server's with its interval, and B over A where both are."""
    rows = []
    for same in zip(*sides.values(), strict=True):
        row: dict[str, str | float | None] = {"figure": same[0].name}
        for side, figure in zip(sides, same, strict=True):
            low, high = figure.interval or (None, None)
            row |= {side: figure.value, f"{side}, low": low, f"{side}, high": high}
        values = [figure.value for figure in same]
        if len(values) == len(_COLOURS) and values[0] and values[1]:
            row["B over A"] = values[1] / values[0]
        rows.append(row)
    return pd.DataFrame(rows)


def words_frame(sides: Mapping[str, list[Figure]]) -> pd.DataFrame:
    """Return the same as people read it: a figure, and its interval behind it."""
    frame = figures_frame(sides)
    told = {side: [_words(figure) for figure in some] for side, some in sides.items()}
    more = {"B over A": [_times(x) for x in frame["B over A"]]} if "B over A" in frame else {}
    return pd.DataFrame({"figure": frame["figure"], **told, **more})


def _words(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    said = number(figure.value)
    if figure.interval is None:
        return said
    low, high = figure.interval
    return f"{said} ({number(low)} to {number(high)})"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio == ratio else "-"  # noqa: PLR0124 - not a number


def rates_frame(answers: Mapping[str, Predicted], slo: Slo) -> pd.DataFrame:
    """Return the first token over the rate, a row for each server's point. [ms]"""
    at = slo.at(Limit.TTFT)
    return pd.DataFrame(
        {
            "server": side, "requests/s": point.qps, "TTFT": name, "ms": ms,
            LOW: point.interval_ms[0], HIGH: point.interval_ms[1],
        }
        for side, answer in answers.items()
        for point in answer.rates.points
        for name, ms in (("mean", point.ttft.mean), (f"p{at:g}", point.ttft.at(at)))
    )  # fmt: skip


def rates_chart(frame: pd.DataFrame, slo: Slo) -> alt.LayerChart:
    """Plot the first token over the rate, with the promise."""
    x = alt.X("requests/s:Q", title="requests per second (1/s)")
    y = alt.Y("ms:Q", title="time to first token, TTFT (ms)", scale=_LOG, axis=_FEW)
    return _lines(frame, x, y, "TTFT", slo.ttft_ms)


def gaps_frame(answers: Mapping[str, Predicted]) -> pd.DataFrame:
    """Return the mean gap over the batch, a row for each server's point. [ms]"""
    return pd.concat(
        [
            pd.DataFrame({
                "server": side, "batch": steps.batch, "ITL": "mean", "ms": steps.mean_ms,
                LOW: steps.interval_ms[0], HIGH: steps.interval_ms[1],
            })
            for side, answer in answers.items()
            if (steps := answer.steps) is not None
        ],
        ignore_index=True,
    )  # fmt: skip


def gaps_chart(frame: pd.DataFrame, slo: Slo) -> alt.LayerChart:
    """Plot the mean gap over the batch, with the promise."""
    x = alt.X("batch:Q", title="requests decoding at once (batch)", scale=_LOG, axis=_FEW)
    y = alt.Y("ms:Q", title="mean time between tokens, ITL (ms)", scale=_LOG, axis=_FEW)
    return _lines(frame, x, y, "ITL", slo.itl_ms)


def _lines(frame: pd.DataFrame, x: alt.X, y: alt.Y, which: str, promise: float) -> alt.LayerChart:
    """Draw a line for each server and statistic, the band of its mean, and the promise."""
    sides, kinds = list(frame["server"].unique()), list(frame[which].unique())
    hues = alt.Scale(domain=sides, range=[_COLOURS[side] for side in sides])
    colour = alt.Color("server:N", scale=hues, legend=alt.Legend(orient="bottom"))
    below = alt.Legend(orient="bottom") if len(kinds) > 1 else None
    dash = alt.StrokeDash(f"{which}:N", sort=kinds, legend=below)
    lines = alt.Chart(frame).mark_line().encode(
        x, y, colour, dash,
        tooltip=[alt.Tooltip("server"), alt.Tooltip(which), *(
            alt.Tooltip(f"{name}:Q", format=",.2f") for name in (x.shorthand[:-2], "ms", LOW, HIGH)
        )],
    )  # fmt: skip
    low = y.copy()
    low.shorthand = f"{LOW}:Q"
    band = alt.Chart(frame[frame[which] == "mean"]).mark_area(opacity=0.3).encode(
        x, low, alt.Y2(f"{HIGH}:Q"), colour
    )  # fmt: skip
    layers = [band, lines, lines.mark_point(size=150, opacity=0)]
    return alt.LayerChart(
        layer=[*layers, level(promise, f"promise {promise:g} ms")], height=_HEIGHT
    )


def memory_frame(answers: Mapping[str, Predicted]) -> pd.DataFrame:
    """Return the memory of each server's GPUs, a line a part. [GiB]"""
    frames = [ledger_frame(one.memory).assign(server=side) for side, one in answers.items()]
    return pd.concat(frames, ignore_index=True)


def memory_chart(frame: pd.DataFrame) -> alt.Chart:
    """Stack the memory of each server's GPUs, a bar a server. [GiB]"""
    names = list(frame["part"].unique())
    chart: alt.Chart = alt.Chart(frame, height=_BARS).mark_bar().encode(
        alt.X("GiB:Q", title="memory of each GPU (GiB)", stack="zero"),
        alt.Y("server:N", title="server"),
        alt.Color("part:N", title=None, sort=names, scale=alt.Scale(domain=names, range=PARTS),
                  legend=alt.Legend(orient="bottom", columns=2)),
        alt.Order("order:O"),
        tooltip=[*map(alt.Tooltip, ("server", "part")), alt.Tooltip("GiB:Q", format=",.2f"),
                 alt.Tooltip("interval")],
    )  # fmt: skip
    return chart
