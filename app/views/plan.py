"""The plan's page: the answer first, then what else would serve, then what lost."""

from __future__ import annotations

import streamlit as st

from charts import latency_frame, ledger_chart, ledger_frame, lost_frame
from drawn import drawn
from fitcalc.answers import Limit
from fitcalc.errors import FitcalcError
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.assumed import assumed_words
from fitcalc.report.cost_view import hosted_words
from fitcalc.report.markdown import plan_markdown
from fitcalc.report.parts import capacity_words, trust_words
from fitcalc.report.plan_view import headline, reasons
from fitcalc.report.reserves import confidence_words
from fitcalc.report.verified import verified_words
from fitcalc.report.words import milliseconds, sentence, usd
from plan_charts import (
    CHOICE,
    LATENCIES,
    PICK,
    between,
    choices_chart,
    choices_frame,
    choices_of,
    felt,
    rejections_frame,
    standing,
)
from plan_parts import show_day, show_money, show_nothing, show_reserves, show_start
from question import answer
from share import Download, plain, show_chart, show_code, show_rows, show_share
from sidebar import ask

_CHART = "chart-choices"
_CELL = 150  # px; two stand side by side on a phone, five on a laptop
_answer = st.cache_data(max_entries=256, show_spinner="Planning")(answer)


def page() -> None:
    """Ask in the sidebar, answer beside it."""
    try:
        asked = ask()
        found, note = _answer(asked)
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    chosen = None
    if found.best is None:
        show_nothing(found, asked.scenario())
    else:
        show_answer(found, found.best)
        show_reserves(found, found.best)
        show_day(found)
        chosen = choose(found, found.best)
        show_details(found, found.best, chosen)
    show_lost(found)
    st.caption(plain(assumed_words(found, note)))
    files = plan_files(found, note)
    if chosen is not None:
        files += show_start(found, chosen)
    show_share(asked.command(), asked.python(), files)


def show_answer(plan: Plan, best: Choice) -> None:
    """Show what to buy, how to start it, and why."""
    st.subheader(plain(headline(best)), anchor=False)
    show_figures(plan, best)
    show_code(best.vllm_command)
    lines = (*reasons(plan, best), *map(sentence, best.notes))
    st.markdown("\n".join(f"- {plain(line)}" for line in lines))


def show_figures(plan: Plan, choice: Choice, best: Choice | None = None) -> None:
    """Show a choice's figures, beside the best's where one is given."""
    slo, interval = plan.question.slo, choice.prediction.interval
    ttft, itl = (felt(choice, limit, slo.at(limit)) for limit in (Limit.TTFT, Limit.ITL))
    sure = "8 of 10 servers are expected at a mean {} of {}."
    more = None
    if best is not None and best.usd_per_hour and choice.usd_per_hour:
        more = f"{choice.usd_per_hour / best.usd_per_hour - 1.0:+.0%}"
    with st.container(horizontal=True):
        st.metric(
            "GPUs", f"{choice.gpu_count}",
            f"{choice.gpu_count - best.gpu_count:+d}" if best else None,
            delta_color="inverse", width=_CELL,
        )  # fmt: skip
        st.metric(
            "USD an hour", plain(usd(choice.usd_per_hour)), more, delta_color="inverse",
            help=plain(choice.price_source) or None, width=_CELL,
        )  # fmt: skip
        st.metric(
            f"First token, p{slo.percentile:g}", milliseconds(ttft),
            f"promised {milliseconds(slo.ttft_ms)}", delta_color="off", delta_arrow="off",
            help=sure.format("TTFT", between(interval.ttft_ms)), width=_CELL,
        )  # fmt: skip
        st.metric(
            f"Between tokens, p{slo.at(Limit.ITL):g}", milliseconds(itl),
            f"promised {milliseconds(slo.itl_ms)}", delta_color="off", delta_arrow="off",
            help=sure.format("TPOT", between(interval.tpot_ms)), width=_CELL,
        )  # fmt: skip
        if best is None and plan.hosted is not None and choice.usd_per_hour:
            api = plan.hosted.hosts[0].usd_per_hour
            less = 1.0 - api / choice.usd_per_hour
            st.metric(
                "Hosted API, USD/h", plain(usd(api)),
                f"{abs(less):.0%} {'less' if less >= 0 else 'more'}", delta_color="off",
                delta_arrow="off", help=plain(hosted_words(plan.hosted, choice.usd_per_hour)),
                width=_CELL,
            )  # fmt: skip


def choose(plan: Plan, best: Choice) -> Choice:
    """Show every choice in cost and latency; return the one that a visitor opened."""
    choices = choices_of(plan)
    st.subheader("What else would serve", anchor=False)
    limit = st.segmented_control(
        "Latency against cost", tuple(LATENCIES), default=Limit.TTFT, key="latency",
        format_func=LATENCIES.__getitem__, bind="query-params", required=True,
    )  # fmt: skip
    frame = standing(plan, limit or Limit.TTFT)
    if frame.empty:
        st.info("No choice has a price under these limits; the list below has them all.")
    else:
        st.altair_chart(
            drawn(choices_chart(plan, frame, limit or Limit.TTFT)), key=_CHART,
            on_select=_picked, selection_mode=PICK,
        )  # fmt: skip
    without = len(choices) - len(frame)
    unpriced = f" {without} without a price are only in the list." if without else ""
    st.caption(f"One point is one choice; click it, or choose below, to open it.{unpriced}")
    with st.expander(f"All {len(choices)} choices as a list"):
        rows = choices_frame(plan)
        st.dataframe(rows.drop(columns=CHOICE), hide_index=True)
        show_rows(rows, "choices")
    name = st.selectbox("Open a choice", tuple(choices), key=CHOICE, bind="query-params")
    return choices.get(name, best)


def _picked() -> None:
    """Open the choice whose point was clicked."""
    points = st.session_state[_CHART].selection[PICK]
    if points:
        st.session_state[CHOICE] = points[0][CHOICE]


def show_details(plan: Plan, best: Choice, choice: Choice) -> None:
    """Show what users of a choice feel, what its memory holds and what it costs."""
    if choice != best:
        st.subheader(plain(headline(choice)), anchor=False)
        show_figures(plan, choice, best)
        st.caption("GPUs and cost stand against the answer above.")
        show_code(choice.vllm_command)
        st.markdown("\n".join(f"- {plain(line)}" for line in map(sentence, choice.notes)))
    users, memory, money = st.tabs(["What users feel", "Memory of each GPU", "What it costs"])
    with users:
        st.dataframe(latency_frame(choice.prediction, plan.question.slo), hide_index=True)
        st.caption(f"How sure: {plain(trust_words(choice.prediction))}")
        if choice.verification is not None:
            st.caption(plain(verified_words(choice)))
        if words := confidence_words(choice):
            st.caption(plain(words))
    with memory:
        show_chart(ledger_chart(choice.memory), ledger_frame(choice.memory), "memory")
        st.caption(plain(capacity_words(choice.memory)))
    with money:
        show_money(plan, choice)


def show_lost(plan: Plan) -> None:
    """Show what lost: a line a limit, and below each configuration."""
    if not plan.rejections:
        return
    st.subheader("What lost", anchor=False)
    st.dataframe(lost_frame(plan), hide_index=True)
    with st.expander(f"Why each of {len(plan.rejections)} lost"):
        rows = rejections_frame(plan)
        st.dataframe(rows, hide_index=True)
        show_rows(rows, "lost")


def plan_files(plan: Plan, note: str) -> list[Download]:
    """Return the plan to take along."""
    return [
        Download("Plan (JSON)", "plan.json", plan.model_dump_json(indent=2), "application/json"),
        Download("Plan (Markdown)", "plan.md", plan_markdown(plan, note), "text/markdown"),
    ]


page()
