"""What reaches one server, and the promise, as widgets; the address holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import streamlit as st

from fitcalc import Slo, Traffic
from fitcalc.units import parse_tokens

_LINK: Final = "query-params"
_SLO: Final = Slo()


@dataclass(frozen=True, slots=True)
class OneLoad:
    """Requests a second that one server gets, all of one length. [1/s], [tokens]"""

    isl: int
    osl: int
    qps: float

    def traffic(self) -> Traffic:
        """Return it as the library takes it."""
        return Traffic(qps=self.qps, isl=self.isl, osl=self.osl)

    def flags(self) -> list[tuple[str, str]]:
        """Return the command line's options that ask the same."""
        return [("isl", str(self.isl)), ("osl", str(self.osl)), ("qps", f"{self.qps:.12g}")]

    def python(self) -> str:
        """Return the same as Python."""
        return f"Traffic(qps={self.qps!r}, isl={self.isl}, osl={self.osl})"


def ask_load(qps: float) -> OneLoad:
    """Draw the widgets of lengths and rate.

    Raises:
        FitcalcError: a length makes no sense.
    """
    isl = st.text_input("Input tokens (isl)", "2048", key="isl", bind=_LINK, help="8k = 8192.")
    osl = st.text_input("Output tokens (osl)", "256", key="osl", bind=_LINK)
    rate = st.number_input(
        "Requests per second and server", 0.001, 1e6, qps, key="qps", bind=_LINK, format="%g"
    )
    return OneLoad(parse_tokens(isl, "isl"), parse_tokens(osl, "osl"), rate)


def ask_promise() -> Slo:
    """Draw the widgets of the promise."""
    ttft = st.number_input(
        "First token within (ms)", 1.0, 1e7, _SLO.ttft_ms, key="ttft", bind=_LINK, format="%g",
        help="TTFT: arrival to first token, queueing included.",
    )  # fmt: skip
    itl = st.number_input(
        "Between tokens at most (ms)", 1.0, 1e7, _SLO.itl_ms, key="itl", bind=_LINK, format="%g",
        help="ITL: gap between two output tokens.",
    )  # fmt: skip
    percentile = st.number_input(
        "Kept at percentile", 50.0, 99.0, _SLO.percentile, key="percentile", bind=_LINK,
        format="%g",
    )  # fmt: skip
    return Slo(ttft_ms=ttft, itl_ms=itl, percentile=percentile)
