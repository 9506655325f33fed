"""The requests of a simulation as widgets: drawn at a rate, or a visitor's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from by_hour import Profile
from fitcalc import Mix, Trace, Traffic, TrafficClass
from fitcalc.inputs.rates import Rates
from fitcalc.units import SECONDS_PER_HOUR
from upload import MOST_ROWS, SUFFIXES, read_trace

_LINK: Final = "query-params"
_STEADY, _FILE = "steady", "file"
_SOURCES: Final = {
    _STEADY: "one rate",
    "day": "an office day, 24 hours",
    "week": "an office week, 168 hours",
    _FILE: "recorded requests, uploaded",
}
_STEADY_COUNT: Final = 2000
"""Requests of a steady rate where nobody says how many. [1]"""
_MOST: Final = 1_000_000
"""Requests that one visitor may simulate. [1]"""
_LEAST_S: Final = 2 * SECONDS_PER_HOUR
_MOST_S: Final = 31 * 24 * SECONDS_PER_HOUR
"""That a file lasts whose hours are priced. [s]"""
_KEPT: Final = "trace"
_IMPORTS: Final = "from fitcalc import EngineArgs, Slo, "


@dataclass(frozen=True, slots=True)
class Load:
    """What comes: requests to draw or a file's, what says so elsewhere, how many, and their day."""

    requests: Traffic | Mix | Trace
    flags: tuple[tuple[str, str], ...]
    imports: str
    python: str
    count: int
    profile: Profile | None = None


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
        help="Of a day or a week: the mean.",
    )  # fmt: skip
    isl = int(st.number_input("Input tokens (isl)", 1, 1_000_000, 575, key="isl", bind=_LINK))
    osl = int(st.number_input("Output tokens (osl)", 1, 1_000_000, 248, key="osl", bind=_LINK))
    asked = st.number_input(
        "Requests to simulate", 10, _MOST, None, key="num-requests", bind=_LINK,
        placeholder=f"{_STEADY_COUNT:,}, or all",
    )  # fmt: skip
    shape = None if source == _STEADY else Rates.named(source, qps)
    whole = _STEADY_COUNT if shape is None else min(max(round(qps * shape.end_s), 1), _MOST)
    count = whole if asked is None else asked
    flags = [("qps", f"{qps:g}"), ("isl", str(isl)), ("osl", str(osl))]
    flags += [("num-requests", str(count))]
    said = f"qps={qps:g}, isl={isl}, osl={osl}"
    traffic = Traffic(qps=qps, isl=isl, osl=osl, num_requests=count)
    if shape is None:
        python = f"Traffic({said}, num_requests={count})"
        return Load(traffic, tuple(flags), _IMPORTS + "Traffic, simulate", python, count)
    one = f"Traffic(qps=1.0, isl={isl}, osl={osl}, num_requests={count})"
    python = f"Mix((TrafficClass({one}, shape=Rates.{source}({qps:g})),), {count})"
    imports = (
        f"{_IMPORTS}Mix, Traffic, TrafficClass, simulate\nfrom fitcalc.inputs.rates import Rates"
    )
    drawn = TrafficClass(traffic.model_copy(update={"qps": 1.0}), shape=shape)
    options = (("rates", source), *flags)
    return Load(
        Mix((drawn,), count), options, imports, python, count, Profile.named(source, qps, isl, osl)
    )


def _uploaded() -> Load | None:
    file = st.file_uploader(
        "Requests (CSV or JSONL, gzipped or not)", type=[s.removeprefix(".") for s in SUFFIXES],
        help="Columns arrival_s, input_tokens, output_tokens; Azure's and Mooncake's files too.",
    )  # fmt: skip
    skip_bad = st.checkbox("Pass over rows that make no sense", key="skip-bad", bind=_LINK)
    if file is None:
        return None
    trace = _read(file, skip_bad=skip_bad)
    if len(trace) + trace.skipped >= MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} rows are read; the commands below read all.")
    flags = (("trace", file.name), *((("skip-bad", ""),) if skip_bad else ()))
    python = f"Trace.read({file.name!r}, skip_bad={skip_bad})"
    lasts = _LEAST_S <= trace.span_s <= _MOST_S
    hours = Profile.recorded(trace, python) if lasts else None
    return Load(trace, flags, _IMPORTS + "Trace, simulate", python, len(trace), hours)


def _read(file: UploadedFile, *, skip_bad: bool) -> Trace:
    """Read a file once, and keep it for its visitor alone."""
    kept, own = st.session_state.get(_KEPT, ("", None)), f"{file.file_id} {skip_bad}"
    if kept[0] == own and isinstance(kept[1], Trace):
        return kept[1]
    with st.spinner("Reading"):
        trace = read_trace(file.name, file.getvalue(), skip_bad=skip_bad)
    st.session_state[_KEPT] = (own, trace)
    return trace
