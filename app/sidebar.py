"""The question as widgets; the page's address holds them, named as the command line's options.

What a first question needs stands open; the rest is folded, but for what a link brought along.
"""

from __future__ import annotations

from typing import Final

import streamlit as st

from fitcalc import Slo
from fitcalc.catalog.model import model_ids
from fitcalc.inputs.rates import SHAPES
from limits import ask_limits, folded
from names import model_name
from question import Asked
from typed import STEADY, Load

_LINK: Final = "query-params"
_SLO, _LOAD = Slo(), Load()
_FIRST_MODEL = "70b"


def ask() -> Asked:
    """Draw the sidebar and return the question it holds.

    Raises:
        FitcalcError: the model or a promise makes no sense.
    """
    with st.sidebar:
        model = st.selectbox(
            "Model",
            (_FIRST_MODEL, *model_ids()),
            key="model",
            bind=_LINK,
            accept_new_options=True,
            help="A name or a Hugging Face id.",
        )
        load = _load()
        slo = _slo()
        limits = ask_limits()
    return Asked(model_name(model), load, slo, limits)


def _load() -> Load:
    st.subheader("Traffic", anchor=False)
    ctx = st.text_input(
        "Context (tokens)", _LOAD.ctx, key="ctx", bind=_LINK,
        help="Prompt and output together, isl + osl; 8k = 8192. It is also max_model_len.",
    )  # fmt: skip
    qps = st.number_input(
        "Requests per second", 0.001, 1e6, _LOAD.qps, key="qps", bind=_LINK, format="%g",
        help="Of all servers together; the mean, where the rate follows a day or a week.",
    )  # fmt: skip
    keys = ("isl", "osl", "concurrency", "rates", "burstiness", "prefix-hit")
    with folded("Lengths, users, day", *keys):
        isl = st.text_input("Input tokens (isl)", key="isl", bind=_LINK)
        osl = st.text_input("Output tokens (osl)", key="osl", bind=_LINK)
        concurrency = st.number_input(
            "Concurrent users", 1, 1_000_000, None, key="concurrency", bind=_LINK,
            help="Clients that each wait for their answer; replaces requests per second.",
        )  # fmt: skip
        rates = st.selectbox(
            "Rate over time", (STEADY, *SHAPES), key="rates", bind=_LINK,
            help="Plans for the peak of a day or a week, and prices servers by the hour beside it.",
        )  # fmt: skip
        burstiness = st.number_input(
            "Burstiness", 0.01, 1000.0, _LOAD.burstiness, key="burstiness", bind=_LINK,
            format="%g", help="1 = Poisson; lower is burstier.",
        )  # fmt: skip
        prefix_hit = st.number_input(
            "Prefix cache hit (share of prompt)", 0.0, 0.99, 0.0, key="prefix-hit", bind=_LINK
        )
    return Load(ctx, isl, osl, qps, concurrency, prefix_hit, burstiness, rates)


def _slo() -> Slo:
    st.subheader("Promise", anchor=False)
    ttft = st.number_input(
        "First token within (ms)", 1.0, 1e7, _SLO.ttft_ms, key="ttft", bind=_LINK, format="%g",
        help="TTFT: arrival to first token, queueing included.",
    )  # fmt: skip
    itl = st.number_input(
        "Between tokens at most (ms)", 1.0, 1e7, _SLO.itl_ms, key="itl", bind=_LINK, format="%g",
        help="ITL: gap between two output tokens.",
    )  # fmt: skip
    with folded("Percentiles, whole request", "percentile", "itl-percentile", "e2e"):
        percentile = st.number_input(
            "Kept at percentile", 50.0, 99.0, _SLO.percentile, key="percentile", bind=_LINK,
            format="%g",
        )  # fmt: skip
        gaps = st.number_input(
            "Gaps kept at percentile", 50.0, 99.0, None, key="itl-percentile", bind=_LINK,
            format="%g", help="Of the gaps between tokens; empty: the percentile above.",
        )  # fmt: skip
        e2e = st.number_input(
            "Whole request within (ms)", 1.0, 1e8, None, key="e2e", bind=_LINK, format="%g"
        )
    said = {
        "ttft_ms": ttft,
        "itl_ms": itl,
        "e2e_ms": e2e,
        "percentile": percentile,
        "itl_percentile": gaps,
    }
    return Slo(**{name: value for name, value in said.items() if value != getattr(_SLO, name)})
