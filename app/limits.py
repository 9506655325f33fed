"""What a plan may use and must survive, as widgets: hardware and formats, money, reserves."""

from __future__ import annotations

from typing import Final, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from fitcalc.answers import Terms
from fitcalc.catalog.formats import kv_format_ids, weight_format_ids
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.catalog.price import clouds, regions
from fitcalc.inputs.buying import Buying
from fitcalc.planning.load import DEFAULT_HEADROOM
from own_prices import NAME, OwnPrices, own_prices
from typed import AUTO, Limits, Reserves

_LINK: Final = "query-params"
_BROUGHT = "brought"


def folded(label: str, *keys: str) -> DeltaGenerator:
    """Fold some widgets away, unless the link that was opened sets one of them."""
    brought = st.session_state.setdefault(_BROUGHT, frozenset(st.query_params))
    return st.expander(label, expanded=not brought.isdisjoint(keys))


def ask_limits() -> Limits:
    """Draw the widgets and return what they hold.

    Raises:
        FitcalcError: a file of prices, or how it is bought, makes no sense.
    """
    st.subheader("Limits", anchor=False)
    cards = _cards()
    money = _money()
    headroom, reserves = _reserves()
    return Limits(
        gpu=cards.gpu,
        exclude_gpu=cards.exclude,
        quantization=cards.quantization,
        kv_cache_dtype=cards.kv_cache_dtype,
        max_gpus=cards.max_gpus,
        budget=money.budget,
        headroom=headroom,
        min_quality=cards.min_quality,
        buying=money.buying,
        prices=money.prices,
        reserves=reserves,
    )


class _Cards(NamedTuple):
    gpu: tuple[str, ...]
    exclude: tuple[str, ...]
    max_gpus: int | None
    quantization: tuple[str, ...]
    kv_cache_dtype: str
    min_quality: float | None


def _cards() -> _Cards:
    keys = ("gpu", "exclude-gpu", "max-gpus", "quantization", "kv-cache-dtype", "min-quality")
    with folded("GPUs and formats", *keys):
        gpu = st.multiselect("Only these GPUs", gpu_ids(), key="gpu", bind=_LINK, placeholder="any")
        exclude = st.multiselect(
            "Not these GPUs", gpu_ids(), key="exclude-gpu", bind=_LINK, placeholder="none"
        )
        max_gpus = st.number_input("Most GPUs", 1, 1_000_000, None, key="max-gpus", bind=_LINK)
        quantization = st.multiselect(
            "Only these weight formats", weight_format_ids(), key="quantization", bind=_LINK,
            placeholder="the model's own and fp8",
        )  # fmt: skip
        kv_cache_dtype = st.selectbox(
            "KV cache format", (AUTO, *kv_format_ids()), key="kv-cache-dtype", bind=_LINK
        )
        quality = st.number_input(
            "Quality kept, at least (share)", 0.01, 1.0, None, 0.005, key="min-quality",
            bind=_LINK, format="%g",
            help="The least published share of its accuracy that a format keeps, such as 0.99; "
            "formats of 4 bits that keep it are tried too.",
        )  # fmt: skip
    return _Cards(
        tuple(gpu), tuple(exclude), max_gpus, tuple(quantization), kv_cache_dtype, quality
    )


class _Money(NamedTuple):
    budget: float | None
    buying: Buying
    prices: OwnPrices | None


def _money() -> _Money:
    """Ask how hardware is paid for; the tables hold prices on demand and spot."""
    with folded("Money", "budget", "terms", "cloud", "region", "mean-share"):
        budget = st.number_input(
            "Most USD an hour", 0.01, 1e9, None, key="budget", bind=_LINK, format="%g"
        )
        terms = st.selectbox(
            "Terms", [one.value for one in Terms], key="terms", bind=_LINK,
            help="Reserved and owned need your own prices, below.",
        )  # fmt: skip
        cloud = st.selectbox(
            "Cloud", clouds(), None, key="cloud", bind=_LINK, placeholder="the cheapest",
            accept_new_options=True,
        )  # fmt: skip
        region = st.selectbox(
            "Region", regions(), None, key="region", bind=_LINK, placeholder="any",
            accept_new_options=True,
        )  # fmt: skip
        share = st.slider(
            "Mean rate of the day over the rate asked for", 0.05, 1.0, 1.0, 0.05,
            key="mean-share", bind=_LINK, help="Below 1 a part of what is bought stays idle.",
        )  # fmt: skip
        file = st.file_uploader(
            "Your own prices (TOML)", "toml", key="prices", max_upload_size=1,
            help="A table as docs/money.md shows; it stays in your session, a link leaves it out.",
        )  # fmt: skip
        prices = None if file is None else own_prices(file.getvalue())
    said = {
        "terms": None if terms == Terms.ON_DEMAND else terms,
        "cloud": cloud,
        "region": region,
        "mean_share": None if share == 1 else share,
        "prices": NAME if prices else None,
    }
    buying = Buying(**{name: value for name, value in said.items() if value is not None})
    return _Money(budget, buying, prices)


def _reserves() -> tuple[float, Reserves]:
    keys = ("headroom", "peak-minute", "spare", "confidence", "growth", "horizon")
    with folded("Headroom, growth, failures", *keys):
        headroom = st.slider(
            "Headroom (share of the rate left free)", 0.0, 0.9, DEFAULT_HEADROOM, 0.05,
            key="headroom", bind=_LINK,
            help="Share of the rate that the promise allows a server, left free.",
        )  # fmt: skip
        peak = st.checkbox(
            "Headroom for the busiest minute", key="peak-minute", bind=_LINK,
            help="Leaves free what the busiest minute of a day needs, instead of the share above.",
        )  # fmt: skip
        spare = st.number_input(
            "Servers that may be lost", 0, 1000, 0, key="spare", bind=_LINK,
            help="The promise holds while so many are down (N + 1: give 1).",
        )  # fmt: skip
        confidence = st.number_input(
            "Confidence (share)", 0.5, 0.99, None, 0.05, key="confidence", bind=_LINK, format="%g",
            help="How sure the promise is to hold, the prediction's own error counted; empty: as "
            "predicted.",
        )  # fmt: skip
        growth = st.text_input(
            "Growth of the load", key="growth", bind=_LINK, placeholder="20%/month",
            help="A share and a span: 20%/month or 100%/year.",
        )  # fmt: skip
        horizon = st.number_input(
            "Months of growth to plan for", 0.0, 120.0, 0.0, 1.0, key="horizon", bind=_LINK,
            format="%g",
        )  # fmt: skip
        if growth.strip() and not horizon:
            st.caption("Growth counts once you say how many months of it to plan for.")
    return headroom, Reserves(spare, confidence, growth, horizon, peak)
