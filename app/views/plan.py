"""The plan's page: the answer first, then why, then what lost."""

from __future__ import annotations

import streamlit as st

from charts import alternatives_frame, latency_frame, ledger_chart, lost_frame
from fitcalc.errors import FitcalcError
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.assumed import assumed_words
from fitcalc.report.cost_view import cost_lines
from fitcalc.report.markdown import plan_markdown
from fitcalc.report.parts import capacity_words, trust_words
from fitcalc.report.plan_view import headline, nothing_words, reasons
from fitcalc.report.words import milliseconds, usd
from question import Asked, answer
from share import Download, plain, show_share
from sidebar import ask

_FORMATS = {
    "USD/h": st.column_config.NumberColumn(format="%.2f"),
    "USD/Mtok out": st.column_config.NumberColumn(format="%.2f"),
    "TTFT (ms)": st.column_config.NumberColumn(format="%.0f"),
    "ITL (ms)": st.column_config.NumberColumn(format="%.1f"),
}
_answer = st.cache_data(max_entries=256, show_spinner="Planning")(answer)


def page() -> None:
    """Ask in the sidebar, answer beside it."""
    try:
        asked = ask()
        found, note = _answer(asked)
    except FitcalcError as error:
        st.error(str(error))
        return
    if found.best is None:
        st.error(nothing_words(found))
    else:
        show_best(found, found.best)
    show_rest(found, asked, note)


def show_best(plan: Plan, best: Choice) -> None:
    """Show what to buy, how to start it, and why."""
    slo, felt = plan.question.slo, best.prediction
    st.subheader(headline(best))
    at = f"p{slo.percentile:g}"
    cells = st.columns(4)
    cells[0].metric("GPUs", f"{best.gpu_count}")
    cells[1].metric("USD an hour", usd(best.usd_per_hour))
    cells[2].metric(f"First token, {at}", milliseconds(felt.ttft_ms.at(slo.percentile)))
    cells[3].metric(f"Between tokens, {at}", milliseconds(felt.itl_ms.at(slo.percentile)))
    st.code(best.vllm_command, language="shell", wrap_lines=True)
    st.markdown("\n".join(f"- {plain(line)}" for line in (*reasons(plan, best), *best.notes)))
    st.dataframe(latency_frame(felt, slo), hide_index=True)
    st.caption(f"How sure: {plain(trust_words(felt))}")
    st.altair_chart(ledger_chart(best.memory))
    st.caption(plain(capacity_words(best.memory)))
    st.caption(f"Cost: {plain(' '.join(cost_lines(plan, best)))}")


def show_rest(plan: Plan, asked: Asked, note: str) -> None:
    """Show the runners-up, what lost, what was assumed, and the same on the command line."""
    if plan.best is not None:
        st.markdown("**What else would serve**")
        st.dataframe(alternatives_frame(plan), hide_index=True, column_config=_FORMATS)
    if plan.rejections:
        st.markdown("**What lost**")
        st.dataframe(lost_frame(plan), hide_index=True)
    st.caption(plain(assumed_words(plan, note)))
    show_share(asked.command(), asked.python(), _files(plan))


def _files(plan: Plan) -> list[Download]:
    """Return the plan to take along."""
    files = [
        Download("Plan (JSON)", "plan.json", plan.model_dump_json(indent=2), "application/json"),
        Download("Plan (Markdown)", "plan.md", plan_markdown(plan), "text/markdown"),
    ]
    if plan.best is not None:
        script = f"#!/bin/sh\n# One of {plan.best.replicas} servers.\n{plan.best.vllm_command}\n"
        files.append(Download("Start script", "serve.sh", script, "text/x-shellscript"))
    return files


page()
