"""Charts as Streamlit takes them: checked against Vega-Lite's schema only where tests ask for it.

The check of a chart takes longer than the chart.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple, cast

import altair as alt
from altair.utils.schemapi import disable_debug_mode

_CHECKS: Final = "FITCALC_CHECK_CHARTS" in os.environ
if not _CHECKS:
    disable_debug_mode()


class _Unchecked(NamedTuple):
    """What Streamlit asks of a chart."""

    chart: alt.typing.ChartType

    def to_dict(self) -> dict[str, object]:
        return self.chart.to_dict(validate=False)


def drawn(chart: alt.typing.ChartType) -> alt.Chart:
    """Return a chart for ``st.altair_chart``."""
    return cast("alt.Chart", chart if _CHECKS else _Unchecked(chart))
