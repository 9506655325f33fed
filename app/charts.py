"""Charts and tables of a plan: values in, charts out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from fitcalc import Slo
from fitcalc.answers import MemoryLedger, Prediction
from fitcalc.planning.choice import Plan
from fitcalc.report.lost import case_words, lost_groups
from fitcalc.report.parts import ledger_rows
from fitcalc.report.words import BINDS, LIMIT, amount, gpu_name, layout, milliseconds
from fitcalc.units import GIB

_PERCENTILES = ("p50", "p90", "p95", "p99")
_LEDGER_HEIGHT = 180
"""Bar, axis and legend together. [px]"""


def ledger_chart(memory: MemoryLedger) -> alt.Chart:
    """Stack one card's memory, part by part. [GiB]"""
    rows = ledger_rows(memory)
    names = [name for name, _ in rows]
    frame = pd.DataFrame(
        {"part": names, "GiB": [size / GIB for _, size in rows], "order": range(len(rows))}
    )
    chart: alt.Chart = (
        alt.Chart(frame, height=_LEDGER_HEIGHT)
        .mark_bar()
        .encode(
            x=alt.X("GiB:Q", title="memory of each GPU (GiB)", stack="zero"),
            color=alt.Color("part:N", title=None, sort=names, legend=alt.Legend(orient="bottom")),
            order="order:O",
            tooltip=["part", alt.Tooltip("GiB:Q", format=",.2f")],
        )
    )
    return chart


def latency_frame(found: Prediction, slo: Slo) -> pd.DataFrame:
    """Latency percentiles beside the promise, as people read them."""
    rows = (
        ("first token (TTFT)", found.ttft_ms, slo.ttft_ms),
        ("between tokens (ITL)", found.itl_ms, slo.itl_ms),
        ("per token (TPOT)", found.tpot_ms, None),
        ("whole request (E2E)", found.e2e_ms, slo.e2e_ms),
    )
    return pd.DataFrame(
        {
            "latency": name,
            "mean": milliseconds(latency.mean),
            **{p: milliseconds(latency.at(float(p[1:]))) for p in _PERCENTILES},
            f"promised at p{slo.percentile:g}": "" if limit is None else milliseconds(limit),
        }
        for name, latency, limit in rows
    )


def alternatives_frame(plan: Plan) -> pd.DataFrame:
    """Return the best choice and the runners-up, a line each."""
    percentile = plan.question.slo.percentile
    choices = (*((plan.best,) if plan.best else ()), *plan.alternatives)
    return pd.DataFrame(
        {
            "GPU": gpu_name(choice.gpu),
            "GPUs": choice.gpu_count,
            "servers": f"{choice.replicas} x {layout(choice.engine)}",
            "format": choice.engine.weight_format,
            "USD/h": choice.usd_per_hour,
            "USD/Mtok out": choice.usd_per_million_output_tokens,
            "TTFT (ms)": choice.prediction.ttft_ms.at(percentile),
            "ITL (ms)": choice.prediction.itl_ms.at(percentile),
            "binds": BINDS[choice.prediction.bottleneck],
            "numbers": choice.prediction.calibrated.value,
        }
        for choice in choices
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
