"""The question as widgets; the page's address holds them, named as the command line's options."""

from __future__ import annotations

from typing import Final

import streamlit as st

from fitcalc import Slo
from fitcalc.answers import Terms
from fitcalc.catalog.formats import kv_format_ids, weight_format_ids
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.catalog.model import model_ids
from fitcalc.catalog.price import clouds, regions
from fitcalc.inputs.buying import Buying
from fitcalc.planning.load import DEFAULT_HEADROOM
from names import model_name
from question import AUTO, Asked, Limits, Load

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
        limits = _limits()
    return Asked(model_name(model), load, slo, limits)


def _load() -> Load:
    st.subheader("Traffic")
    ctx = st.text_input(
        "Context (tokens)", _LOAD.ctx, key="ctx", bind=_LINK,
        help="Prompt and output together, isl + osl; 8k = 8192. It is also max_model_len.",
    )  # fmt: skip
    qps = st.number_input(
        "Requests per second", 0.001, 1e6, _LOAD.qps, key="qps", bind=_LINK, format="%g"
    )
    with st.expander("Lengths, users, prefix cache"):
        isl = st.text_input("Input tokens (isl)", key="isl", bind=_LINK)
        osl = st.text_input("Output tokens (osl)", key="osl", bind=_LINK)
        concurrency = st.number_input(
            "Concurrent users", 1, 1_000_000, None, key="concurrency", bind=_LINK,
            help="Clients that each wait for their answer; replaces requests per second.",
        )  # fmt: skip
        prefix_hit = st.number_input(
            "Prefix cache hit (share of prompt)", 0.0, 0.99, 0.0, key="prefix-hit", bind=_LINK
        )
    return Load(ctx, isl, osl, qps, concurrency, prefix_hit)


def _slo() -> Slo:
    st.subheader("Promise")
    ttft = st.number_input(
        "First token within (ms)", 1.0, 1e7, _SLO.ttft_ms, key="ttft", bind=_LINK, format="%g",
        help="TTFT: arrival to first token, queueing included.",
    )  # fmt: skip
    itl = st.number_input(
        "Between tokens at most (ms)", 1.0, 1e7, _SLO.itl_ms, key="itl", bind=_LINK, format="%g",
        help="ITL: gap between two output tokens.",
    )  # fmt: skip
    with st.expander("Percentile, whole request"):
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


def _limits() -> Limits:
    st.subheader("Limits")
    gpu = st.multiselect("Only these GPUs", gpu_ids(), key="gpu", bind=_LINK)
    quantization = st.multiselect(
        "Only these weight formats", weight_format_ids(), key="quantization", bind=_LINK
    )
    with st.expander("Budget, headroom, KV cache"):
        exclude = st.multiselect("Not these GPUs", gpu_ids(), key="exclude-gpu", bind=_LINK)
        max_gpus = st.number_input("Most GPUs", 1, 1_000_000, None, key="max-gpus", bind=_LINK)
        budget = st.number_input(
            "Most USD an hour", 0.01, 1e9, None, key="budget", bind=_LINK, format="%g"
        )
        headroom = st.slider(
            "Headroom (share of the rate left free)", 0.0, 0.9, DEFAULT_HEADROOM, 0.05,
            key="headroom", bind=_LINK,
            help="Share of the rate that the promise allows a server, left free.",
        )  # fmt: skip
        kv_cache_dtype = st.selectbox(
            "KV cache format", (AUTO, *kv_format_ids()), key="kv-cache-dtype", bind=_LINK
        )
    return Limits(
        tuple(gpu), tuple(exclude), tuple(quantization), kv_cache_dtype, max_gpus, budget,
        headroom, _buying(),
    )  # fmt: skip


def _buying() -> Buying:
    """Ask how hardware is paid for; only terms that the tables have prices of are offered."""
    with st.expander("Buying"):
        terms = st.selectbox(
            "Terms", (Terms.ON_DEMAND, Terms.SPOT), key="terms", bind=_LINK,
            format_func=lambda terms: terms.value,
        )  # fmt: skip
        cloud = st.selectbox(
            "Cloud", clouds(), None, key="cloud", bind=_LINK, placeholder="the cheapest"
        )
        region = st.selectbox(
            "Region", regions(), None, key="region", bind=_LINK, placeholder="any"
        )
        share = st.slider(
            "Mean rate of the day over the rate asked for", 0.05, 1.0, 1.0, 0.05,
            key="mean-share", bind=_LINK, help="Below 1 a part of what is bought stays idle.",
        )  # fmt: skip
    said = {
        "terms": None if terms is Terms.ON_DEMAND else terms,
        "cloud": cloud,
        "region": region,
        "mean_share": None if share == 1 else share,
    }
    return Buying(**{name: value for name, value in said.items() if value is not None})
