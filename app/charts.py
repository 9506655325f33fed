"""Charts and tables of a plan: values in, charts out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from fitcalc import Slo
from fitcalc.answers import Limit, MemoryLedger, Prediction
from fitcalc.planning.choice import Plan
from fitcalc.report.lost import case_words, lost_groups
from fitcalc.report.parts import ledger_rows
from fitcalc.report.words import LIMIT, amount, milliseconds
from fitcalc.units import GIB
from palette import BLUE, GREEN, GREY, ORANGE, PINK, RED

_PERCENTILES = ("p50", "p90", "p95", "p99")
_LEDGER_HEIGHT = 200
"""Bar, axis and legend together. [px]"""
PARTS = (BLUE, RED, PINK, ORANGE, GREEN, GREY)
"""Weights, activation, outside torch, graphs, KV cache, unused."""


def ledger_frame(memory: MemoryLedger) -> pd.DataFrame:
    """Return one card's memory, a line a part; only the KV cache has an interval. [GiB]"""
    low, high = memory.kv_cache_bytes_p10 / GIB, memory.kv_cache_bytes_p90 / GIB
    return pd.DataFrame(
        {
            "part": name,
            "GiB": size / GIB,
            "interval": f"8 of 10 in {low:,.2f} to {high:,.2f}" if name == "KV cache" else "",
            "order": place,
        }
        for place, (name, size) in enumerate(ledger_rows(memory))
    )


def ledger_chart(memory: MemoryLedger) -> alt.Chart:
    """Stack one card's memory, part by part. [GiB]"""
    names = [name for name, _ in ledger_rows(memory)]
    frame = ledger_frame(memory)
    chart: alt.Chart = (
        alt.Chart(frame, height=_LEDGER_HEIGHT)
        .mark_bar()
        .encode(
            x=alt.X("GiB:Q", title="memory of each GPU (GiB)", stack="zero"),
            color=alt.Color(
                "part:N",
                title=None,
                sort=names,
                legend=alt.Legend(orient="bottom", columns=2),
                scale=alt.Scale(domain=names, range=PARTS),
            ),
            order=alt.Order("order:O"),
            tooltip=[
                alt.Tooltip("part"),
                alt.Tooltip("GiB:Q", format=",.2f"),
                alt.Tooltip("interval"),
            ],
        )
    )
    return chart


def latency_frame(found: Prediction, slo: Slo) -> pd.DataFrame:
    """Latency percentiles beside the promise, as people read them."""
    rows = (
        ("first token (TTFT)", found.ttft_ms, slo.ttft_ms, slo.at(Limit.TTFT)),
        ("between tokens (ITL)", found.itl_ms, slo.itl_ms, slo.at(Limit.ITL)),
        ("per token (TPOT)", found.tpot_ms, None, slo.percentile),
        ("whole request (E2E)", found.e2e_ms, slo.e2e_ms, slo.at(Limit.E2E)),
    )
    return pd.DataFrame(
        {
            "latency": name,
            "mean": milliseconds(latency.mean),
            **{p: milliseconds(latency.at(float(p[1:]))) for p in _PERCENTILES},
            "promised": "" if limit is None else f"p{at:g} {milliseconds(limit)}",
        }
        for name, latency, limit, at in rows
    )


def lost_frame(plan: Plan) -> pd.DataFrame:
    """Return what lost, a line for each limit."""
    return pd.DataFrame(
        {
            "because": LIMIT[group.limit],
            "cases": group.cases,
            "GPU types": group.gpus,
            "closest miss": case_words(group.closest),
            "needs": amount(group.limit, group.closest.needed),
            "has": amount(group.limit, group.closest.available),
        }
        for group in lost_groups(plan)
    )
