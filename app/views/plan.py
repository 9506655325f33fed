"""The plan's page: the answer first, then why, then what lost."""

from __future__ import annotations

import streamlit as st

from charts import alternatives_frame, latency_frame, ledger_chart, lost_frame
from fitcalc.errors import FitcalcError
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.assumed import assumed_words
from fitcalc.report.cost_view import cost_lines
from fitcalc.report.parts import capacity_words, trust_words
from fitcalc.report.plan_view import headline, nothing_words, reasons
from fitcalc.report.words import milliseconds, usd
from question import Asked, answer
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
    st.markdown("\n".join(f"- {_plain(line)}" for line in (*reasons(plan, best), *best.notes)))
    st.dataframe(latency_frame(felt, slo), hide_index=True)
    st.caption(f"How sure: {_plain(trust_words(felt))}")
    st.altair_chart(ledger_chart(best.memory))
    st.caption(_plain(capacity_words(best.memory)))
    st.caption(f"Cost: {_plain(' '.join(cost_lines(plan, best)))}")


def show_rest(plan: Plan, asked: Asked, note: str) -> None:
    """Show the runners-up, what lost, what was assumed, and the same on the command line."""
    if plan.best is not None:
        st.markdown("**What else would serve**")
        st.dataframe(alternatives_frame(plan), hide_index=True, column_config=_FORMATS)
    if plan.rejections:
        st.markdown("**What lost**")
        st.dataframe(lost_frame(plan), hide_index=True)
    st.caption(_plain(assumed_words(plan, note)))
    st.markdown("**The same on the command line**")
    st.code(asked.command(), language="shell", wrap_lines=True)


def _plain(text: str) -> str:
    """Keep Markdown from reading a dollar sign as mathematics."""
    return text.replace("$", r"\$")


page()
