"""The requests of a simulation as widgets: drawn at a rate, or a visitor's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import streamlit as st

from fitcalc import Mix, Trace, Traffic, TrafficClass
from fitcalc.inputs.rates import Rates
from upload import SUFFIXES, read_trace

_LINK: Final = "query-params"
_STEADY, _DAY, _FILE = "steady", "day", "file"
_SOURCES: Final = {
    _STEADY: "one rate",
    _DAY: "a day of 24 hours",
    _FILE: "recorded requests, uploaded",
}
_STEADY_COUNT: Final = 2000
"""Requests of a steady rate where nobody says how many. [1]"""
_MOST: Final = 1_000_000
"""Requests that one visitor may simulate. [1]"""
_IMPORTS: Final = "from fitcalc import EngineArgs, Slo, "


@dataclass(frozen=True, slots=True)
class Load:
    """What comes: requests to draw or a file's, what says so elsewhere, and how many."""

    requests: Traffic | Mix | Trace
    flags: tuple[tuple[str, str], ...]
    imports: str
    python: str
    count: int


def ask_load() -> Load | None:
    """Draw the widgets of the requests; nothing where a file is still to come.

    Raises:
        FitcalcError: a number or the file makes no sense; the message is one sentence.
    """
    st.subheader("Traffic", anchor=False)
    source = st.radio(
        "Requests", list(_SOURCES), captions=list(_SOURCES.values()), key="source", bind=_LINK
    )
    if source == _FILE:
        return _uploaded()
    qps = st.number_input(
        "Requests per second", 0.001, 1e4, 8.0, key="qps", bind=_LINK, format="%g",
        help="Of an office day: the mean.",
    )  # fmt: skip
    isl = int(st.number_input("Input tokens (isl)", 1, 1_000_000, 575, key="isl", bind=_LINK))
    osl = int(st.number_input("Output tokens (osl)", 1, 1_000_000, 248, key="osl", bind=_LINK))
    asked = st.number_input(
        "Requests to simulate", 10, _MOST, None, key="num-requests", bind=_LINK,
        placeholder=f"{_STEADY_COUNT:,}, or the whole day",
    )  # fmt: skip
    whole = (
        min(max(round(qps * Rates.day(1.0).end_s), 1), _MOST) if source == _DAY else _STEADY_COUNT
    )
    count = whole if asked is None else asked
    flags = [("qps", f"{qps:g}"), ("isl", str(isl)), ("osl", str(osl))]
    flags += [("num-requests", str(count))]
    said = f"qps={qps:g}, isl={isl}, osl={osl}"
    traffic = Traffic(qps=qps, isl=isl, osl=osl, num_requests=count)
    if source == _STEADY:
        python = f"Traffic({said}, num_requests={count})"
        return Load(traffic, tuple(flags), _IMPORTS + "Traffic, simulate", python, count)
    day = TrafficClass(traffic.model_copy(update={"qps": 1.0}), shape=Rates.day(qps))
    one = f"Traffic(qps=1.0, isl={isl}, osl={osl}, num_requests={count})"
    python = f"Mix((TrafficClass({one}, shape=Rates.day({qps:g})),), {count})"
    imports = (
        f"{_IMPORTS}Mix, Traffic, TrafficClass, simulate\nfrom fitcalc.inputs.rates import Rates"
    )
    return Load(Mix((day,), count), (("rates", "day"), *flags), imports, python, count)


def _uploaded() -> Load | None:
    file = st.file_uploader(
        "Requests (CSV or JSONL, gzipped or not)", type=[s.removeprefix(".") for s in SUFFIXES],
        help="Columns arrival_s, input_tokens, output_tokens; Azure's and Mooncake's files too.",
    )  # fmt: skip
    skip_bad = st.checkbox("Pass over rows that make no sense", key="skip-bad", bind=_LINK)
    if file is None:
        return None
    trace = read_trace(file.name, file.getvalue(), skip_bad=skip_bad)
    if len(trace) > _MOST:
        trace = trace.part(np.arange(_MOST))
        st.caption(f"The first {_MOST:,} requests are simulated.")
    flags = (("trace", file.name), *((("skip-bad", ""),) if skip_bad else ()))
    python = f"Trace.read({file.name!r}, skip_bad={skip_bad})"
    return Load(trace, flags, _IMPORTS + "Trace, simulate", python, len(trace))
