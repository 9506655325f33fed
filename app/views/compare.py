"""Two servers under the same traffic and promise, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import streamlit as st

from compare_charts import (
    figures,
    figures_frame,
    gaps_chart,
    gaps_frame,
    memory_chart,
    memory_frame,
    rates_chart,
    rates_frame,
    words_frame,
)
from fitcalc import Prediction, Rejection, Slo
from fitcalc.errors import FitcalcError
from fitcalc.report.parts import trust_words
from fitcalc.report.words import gpu_name, number
from predicted import Predicted, predicted
from rate import OneLoad, ask_load, ask_promise
from server import Server, ask_server
from share import Download, command, plain, show_chart, show_rows, show_share

_FIRST_QPS: Final = 1.0
_OTHER_GPU: Final = "l40s"


_predicted = st.cache_data(max_entries=256, show_spinner="Predicting")(predicted)


def page() -> None:
    """Ask for two servers in the sidebar, compare them beside it."""
    try:
        with st.sidebar:
            st.subheader("Server A")
            servers = {"A": ask_server()}
            st.subheader("Server B")
            servers["B"] = ask_server(suffix="-b", gpu=_OTHER_GPU)
            st.subheader("Traffic of each")
            load = ask_load(_FIRST_QPS)
            st.subheader("Promise")
            slo = ask_promise()
        answers = {side: _predicted(server, load, slo) for side, server in servers.items()}
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    starting = {side: one for side, one in answers.items() if isinstance(one, Predicted)}
    st.subheader(_headline(servers, starting), anchor=False)
    for side, answer in answers.items():
        show_trouble(side, answer)
    if starting:
        show_figures(starting, load, slo)
        show_curves(starting, slo)
    show_share(*_same(servers, load), _files(answers))


def show_trouble(side: str, answer: Predicted | Rejection) -> None:
    """Say why a server does not start or cannot carry the rate."""
    if isinstance(answer, Rejection):
        st.error(f"Server {side} does not start: {plain(answer.reason)}.")
    elif isinstance(answer.found, Rejection):
        st.warning(f"Too much for server {side}: {plain(answer.found.reason)}.")


def show_figures(answers: Mapping[str, Predicted], load: OneLoad, slo: Slo) -> None:
    """Show every figure of each server with its interval."""
    sides = {side: figures(answer, load, slo) for side, answer in answers.items()}
    st.dataframe(words_frame(sides), hide_index=True)
    show_rows(figures_frame(sides), "compared")
    st.caption("In brackets: where 8 of 10 servers are expected. USD are the cheapest on demand.")
    for side, answer in answers.items():
        if isinstance(answer.found, Prediction):
            st.caption(f"{side}: {plain(trust_words(answer.found))}")


def show_curves(answers: Mapping[str, Predicted], slo: Slo) -> None:
    """Show latency over rate and batch, and memory."""
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**First token over the rate**")
        rates = rates_frame(answers, slo)
        show_chart(rates_chart(rates, slo), rates, "ttft-over-rate")
        st.caption("Requests at a rate (open loop), in closed form; a line ends where its server "
                   "does. Bands: the means of 8 of 10 servers.")  # fmt: skip
    with right:
        st.markdown("**Between tokens over the batch**")
        if all(answer.steps is None for answer in answers.values()):
            st.info("Answers of one token have no time between tokens.")
        else:
            gaps = gaps_frame(answers)
            show_chart(gaps_chart(gaps, slo), gaps, "itl-over-batch")
            st.caption("The mean gap as prompts come that keep the batch.")
    st.markdown("**Memory of each GPU**")
    memory = memory_frame(answers)
    show_chart(memory_chart(memory), memory, "memory")


def _headline(servers: Mapping[str, Server], answers: Mapping[str, Predicted]) -> str:
    """Say which carries more within the promise, and at which cost."""
    if len(answers) < len(servers):
        alone = " and ".join(answers) or "neither"
        return f"Of the two, {alone} starts"
    a, b = answers["A"], answers["B"]
    names = [f"{side} ({gpu_name(server.gpu)})" for side, server in servers.items()]
    keeps = [name for name, one in zip(names, (a, b), strict=True) if one.rates.goodput]
    if len(keeps) < len(names):
        alone = f"Only {keeps[0]} keeps" if keeps else "Neither keeps"
        return f"{alone} the promise at some rate"
    (much, more), (little, less) = sorted(
        zip(names, (a, b), strict=True), key=lambda one: -one[1].rates.goodput
    )
    times = number(more.rates.goodput / less.rates.goodput)
    said = f"{much} carries {times} times the requests of {little}"
    if more.bill is None or less.bill is None:
        return said
    return f"{said} at {number(more.bill.usd_per_hour / less.bill.usd_per_hour)} times its cost"


def _same(servers: Mapping[str, Server], load: OneLoad) -> tuple[str, str]:
    """Return the same two questions on the command line and in Python."""
    lines = [command("predict", [*one.flags(), *load.flags()]) for one in servers.values()]
    python = [
        "from fitcalc import EngineArgs, Traffic, predict\n",
        f"traffic = {load.python()}",
        *(f"{side.lower()} = predict({one.python()}, traffic)" for side, one in servers.items()),
    ]
    return "\n".join(lines), "\n".join(python)


def _files(answers: Mapping[str, Predicted | Rejection]) -> list[Download]:
    found = {k: one if isinstance(one, Rejection) else one.found for k, one in answers.items()}
    return [
        Download(f"Prediction of {side} (JSON)", f"prediction-{side.lower()}.json",
                 one.model_dump_json(indent=2), "application/json")
        for side, one in found.items()
    ]  # fmt: skip


page()
