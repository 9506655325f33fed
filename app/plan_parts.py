"""Parts of the plan's page that only some questions have: money, reserves, the day, a no."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fitcalc import Target, manifests
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.check_text import miss_words
from fitcalc.planning.choice import Choice, Plan
from fitcalc.planning.losers import nearest
from fitcalc.planning.relax import relaxations
from fitcalc.planning.relaxation import Relaxation
from fitcalc.report.cost_view import cost_lines
from fitcalc.report.day_view import FLEET_COLUMNS, day_lines, fleet_rows
from fitcalc.report.deploy.deployment import Deployment
from fitcalc.report.deploy.targets import refusal
from fitcalc.report.plan_view import nothing_words
from fitcalc.report.reserves import REASON_COLUMNS, margin_lines, reason_rows
from limits import folded
from money_charts import hosted_frame, hours_chart, hours_frame
from share import Download, plain, show_chart, show_code, show_rows, zipped

_NEAREST = 3
_MONEY = {
    "USD an hour": st.column_config.NumberColumn(format="dollar"),
    "of the servers' cost (%)": st.column_config.NumberColumn(format="%.0f"),
}
_ASKED = {
    "plan.budget_usd_per_hour": "Most USD an hour",
    "plan.max_gpus": "Most GPUs",
    "plan.gpus": "Only these GPUs",
    "plan.exclude_gpus": "Not these GPUs",
    "plan.cloud": "Cloud",
    "plan.quantization": "Only these weight formats",
    "slo.ttft_ms": "First token within (ms)",
    "slo.itl_ms": "Between tokens at most (ms)",
    "slo.e2e_ms": "Whole request within (ms)",
    "traffic.qps": "Requests per second",
    "traffic.concurrency": "Concurrent users",
}
"""The widgets of the fields that a relaxation changes."""
_relaxations = st.cache_data(max_entries=64, show_spinner="Looking for what would serve")(
    relaxations
)


def show_money(plan: Plan, choice: Choice) -> None:
    """Show what a choice costs, and what hosts ask for the same tokens."""
    st.markdown("\n".join(f"- {plain(line)}" for line in cost_lines(plan, choice)))
    if plan.hosted is not None:
        rows = hosted_frame(plan.hosted, choice)
        st.dataframe(rows, hide_index=True, column_config=_MONEY, placeholder="-")
        show_rows(rows, "hosted")


def show_reserves(plan: Plan, best: Choice) -> None:
    """Show which reason adds how many servers, where risks were named."""
    if plan.margins is None:
        return
    st.subheader("Why so many servers", anchor=False)
    rows = pd.DataFrame(reason_rows(plan.margins, best), columns=list(REASON_COLUMNS))
    st.dataframe(rows, hide_index=True)
    if lines := margin_lines(plan):
        st.markdown("\n".join(f"- {plain(line)}" for line in lines))


def show_day(plan: Plan) -> None:
    """Show servers by the hour beside servers for the peak, where rates were given."""
    if plan.day is None or plan.best is None:
        return
    st.subheader("Over the day", anchor=False)
    rows = hours_frame(plan.day)
    show_chart(hours_chart(rows, plan.best.replicas), rows, "hours")
    fleets = pd.DataFrame(fleet_rows(plan.day), columns=list(FLEET_COLUMNS))
    st.dataframe(fleets, hide_index=True)
    st.markdown("\n".join(f"- {plain(line)}" for line in day_lines(plan.day)))


def show_nothing(plan: Plan, asked: Scenario | None) -> None:
    """Say that nothing serves, who came near, and what would have to give."""
    st.error(plain(nothing_words(plan)))
    if near := nearest(plan.rejections, _NEAREST)[1:]:
        st.markdown("**Next nearest**")
        st.markdown("\n".join(f"- {plain(miss_words(one))}" for one in near))
    if asked is None:
        return
    found = _relaxations(asked)
    st.markdown("**What would have to give**")
    if not found:
        st.markdown("No one of these limits, stretched 32 times, lets anything serve.")
        return
    st.dataframe(
        relaxed_frame(found), hide_index=True, placeholder="-",
        column_config={"USD/h": st.column_config.NumberColumn(format="dollar")},
    )  # fmt: skip
    st.caption(
        "Each line alone is enough, to a few percent, before any simulation. It is the least "
        "change, whatever it costs: a little more of it can take far fewer servers."
    )


def relaxed_frame(found: tuple[Relaxation, ...]) -> pd.DataFrame:
    """Return a row for each change of the question that would let something serve."""
    return pd.DataFrame(
        {
            "change": " and ".join(_ASKED.get(one.field, one.field) for one in row.changes),
            "asked": " and ".join(_value(one.asked) for one in row.changes),
            "would do": " and ".join(_value(one.needed) for one in row.changes),
            "then serves": row.serves,
            "USD/h": row.usd_per_hour,
        }
        for row in found
    )


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"


def show_start(plan: Plan, choice: Choice) -> list[Download]:
    """Show the files that start a choice on one target; return them all to take along."""
    deployment = Deployment(plan.question, choice)
    refused = {one: why for one in Target if (why := refusal(one, deployment))}
    with folded("Files that start it: vLLM, Compose, Kubernetes, KServe, SkyPilot", "as"):
        able = [one.value for one in Target if one not in refused]
        target = st.selectbox("For", able, key="as", bind="query-params")
        for name, text in manifests(plan, [target or able[0]], choice=choice).files.items():
            show_code(text)
            st.download_button(name, text, name, "text/plain", key=f"get-{name}", on_click="ignore")
        for name, why in refused.items():
            st.caption(plain(f"Left out {name}: {why}."))
    script = f"#!/bin/sh\n# One of {choice.replicas} servers.\n{choice.vllm_command}\n"

    def packed() -> bytes:
        return zipped(manifests(plan, choice=choice).files)

    return [
        Download("Start script", "serve.sh", script, "text/x-shellscript"),
        Download("All manifests", "manifests.zip", packed, "application/zip"),
    ]
