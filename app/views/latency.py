"""One server's latency: what its users feel, when it breaks, and where the time goes."""

from __future__ import annotations

import streamlit as st

from fitcalc import Prediction, Rejection, Slo
from fitcalc.answers import Limit
from fitcalc.errors import FitcalcError
from fitcalc.planning.curves import RateCurve
from fitcalc.planning.missed import missed
from fitcalc.report.parts import trust_words
from fitcalc.report.words import BOTTLENECK, milliseconds, number
from latency_charts import (
    gap_chart,
    gap_frame,
    parts_chart,
    parts_frame,
    rate_chart,
    rate_frame,
    roof_chart,
    roof_frame,
)
from predicted import Predicted, predicted
from rate import OneLoad, ask_load, ask_promise
from server import Server, ask_server
from share import Download, command, plain, show_chart, show_share

_FIRST_QPS = 4.0
_CELL = 168  # px; two stand side by side on a phone

_predicted = st.cache_data(max_entries=256, show_spinner="Predicting")(predicted)


def page() -> None:
    """Ask in the sidebar, answer beside it."""
    try:
        with st.sidebar:
            st.subheader("Server")
            server = ask_server()
            st.subheader("Traffic")
            load = ask_load(_FIRST_QPS)
            st.subheader("Promise")
            slo = ask_promise()
        answer = _predicted(server, load, slo)
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    if isinstance(answer, Rejection):
        st.error(f"This server does not start: {plain(answer.reason)}.")
    else:
        show_felt(answer, load, slo)
        show_curves(answer, load, slo)
    show_share(*_same(server, load), _files(answer))


def show_felt(answer: Predicted, load: OneLoad, slo: Slo) -> None:
    """Show what users feel at the rate, and how much more the server carries."""
    found, rates, at = answer.found, answer.rates, f"p{slo.percentile:g}"
    if isinstance(found, Rejection):
        st.error(f"Too much for this server: {plain(found.reason)}.")
    else:
        failures = missed(found, slo)
        kept = "keeps the promise" if not failures else "breaks the promise"
        st.subheader(f"One server {kept} at {number(load.qps)} requests/s", anchor=False)
    cells = st.container(horizontal=True)
    if isinstance(found, Prediction):
        low, high = found.interval.ttft_ms
        cells.metric(
            f"First token, {at}", milliseconds(found.ttft_ms.at(slo.percentile)),
            help=f"Mean {milliseconds(found.ttft_ms.mean)}; 8 of 10 servers "
            f"{milliseconds(low)} to {milliseconds(high)}.",
            width=_CELL,
        )  # fmt: skip
        low, high = found.interval.tpot_ms
        cells.metric(
            f"Between tokens, {at}", milliseconds(found.itl_ms.at(slo.percentile)),
            help=f"Mean per token {milliseconds(found.tpot_ms.mean)}; 8 of 10 servers "
            f"{milliseconds(low)} to {milliseconds(high)}.",
            width=_CELL,
        )  # fmt: skip
    cells.metric(
        "Promise holds up to", f"{number(rates.goodput)}/s" if rates.goodput else "no rate",
        help="The knee: the highest rate at which the promise holds, queueing included.",
        width=_CELL,
    )  # fmt: skip
    cells.metric(
        "Queue grows from", f"{number(rates.capacity)}/s", help="The largest stable rate.",
        width=_CELL,
    )  # fmt: skip
    if isinstance(found, Prediction):
        st.caption(f"How sure: {plain(trust_words(found))}")
        st.caption(f"What binds: {BOTTLENECK[found.bottleneck]}.")


def show_curves(answer: Predicted, load: OneLoad, slo: Slo) -> None:
    """Show the four charts; where an answer has one token, those that exist."""
    batch = answer.found.steady_batch if isinstance(answer.found, Prediction) else None
    first, second = st.columns(2, gap="large"), st.columns(2, gap="large")
    with first[0]:
        st.markdown("**First token over the rate**")
        frame = rate_frame(answer.rates)
        show_chart(rate_chart(frame, answer.rates, slo, load.qps), frame, "ttft-over-rate")
        st.caption(
            f"Requests that come at a rate, whoever waits (open loop), in closed form. The band is "
            f"where 8 of 10 servers' means are expected{_source(answer)}.{_knee(answer.rates, slo)}"
        )
    with second[1]:
        st.markdown("**Under the GPU's ceilings**")
        frame = roof_frame(answer.roof)
        show_chart(roof_chart(frame, answer.roof), frame, "roofline")
        st.caption("One prompt's step and decode steps; the ceilings are the dense peak and the "
                   "memory bandwidth of one GPU.")  # fmt: skip
    if answer.steps is None:
        first[1].info("Answers of one token have no time between tokens.")
        return
    with first[1]:
        st.markdown("**Between tokens over the batch**")
        frame = gap_frame(answer.steps)
        show_chart(gap_chart(frame, slo, batch), frame, "itl-over-batch")
        st.caption(
            "The mean gap as prompts come that keep the batch, with the band of 8 of 10 servers"
            f"{_source(answer)}; the gap of decodes alone; and the gap that a prompt's chunk "
            f"stretches. The dashed line is the promise, p{slo.at(Limit.ITL):g}."
        )
    with second[0]:
        st.markdown("**Where the milliseconds go**")
        frame = parts_frame(answer.steps)
        show_chart(parts_chart(frame), frame, "step-parts")
        st.caption("The mean gap by kernel of a decode step, and the prompts computed in between.")


def _source(answer: Predicted) -> str:
    """Say where the interval comes from."""
    found = answer.found
    return f" ({found.calibrated.value})" if isinstance(found, Prediction) else ""


def _knee(rates: RateCurve, slo: Slo) -> str:
    """Say what breaks the promise right above the knee."""
    above = next((point for point in rates.points if point.qps > rates.goodput), None)
    if above is None or not rates.goodput:
        return ""
    late = above.ttft.at(slo.at(Limit.TTFT)) > slo.ttft_ms
    slow = above.itl.at(slo.at(Limit.ITL)) > slo.itl_ms
    broken = [words for words, is_so in (("first tokens", late), ("gaps", slow)) if is_so]
    return f" At the knee {' and '.join(broken)} break the promise." if broken else ""


def _same(server: Server, load: OneLoad) -> tuple[str, str]:
    """Return the same question on the command line and in Python."""
    python = (
        "from fitcalc import EngineArgs, Traffic, predict\n\n"
        f"found = predict({server.python()}, {load.python()})"
    )
    return command("predict", [*server.flags(), *load.flags()]), python


def _files(answer: Predicted | Rejection) -> list[Download]:
    found = answer if isinstance(answer, Rejection) else answer.found
    text = found.model_dump_json(indent=2)
    return [Download("Prediction (JSON)", "prediction.json", text, "application/json")]


page()
