"""How far predictions lie from measured runs, and whose kernels were measured."""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from accuracy_charts import METRICS, errors_frame, runs_frame, scatter
from fitcalc.answers import Calibrated
from fitcalc.catalog.accuracy import measured_runs, spread
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.gpu import load_gpus
from fitcalc.errors import FitcalcError
from share import plain, show_chart

_LINK: Final = "query-params"
_ONE_DECIMAL: Final = {
    name: st.column_config.NumberColumn(format="%.1f")
    for name in ("mean error (%)", "median error (%)")
}
_WORDS: Final = {
    Calibrated.MEASURED: "kernels measured on this GPU",
    Calibrated.TRANSFERRED: "kernels measured on a near relative",
    Calibrated.DATASHEET: "datasheet, and what GPUs reach of it on average",
    Calibrated.OWN: "kernels that you measured",
}


def page() -> None:
    """Ask what to compare, and show it."""
    st.title("Measured against predicted", anchor=False)
    try:
        runs = measured_runs()
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    with st.sidebar:
        metric = st.radio(
            "Latency", list(METRICS), captions=list(METRICS.values()), key="metric", bind=_LINK
        )
        models = st.multiselect(
            "Only these models", sorted({r.model for r in runs}), key="model", bind=_LINK
        )
        gpus = st.multiselect(
            "Only these GPUs", sorted({r.gpu for r in runs}), key="gpu", bind=_LINK
        )
    kept = [r for r in runs if r.model in (models or [r.model]) and r.gpu in (gpus or [r.gpu])]
    if not kept:
        st.info("No run of these models was measured on these GPUs; take one away in the sidebar.")
    else:
        frame = runs_frame(kept, metric)
        off = frame["off (%)"].abs()
        cells = st.columns(3)
        cells[0].metric("Runs", f"{len(frame)}")
        cells[1].metric("Mean error", f"{off.mean():.1f} %")
        cells[2].metric("Within 10 %", f"{100 * (off <= 10).mean():.0f} %")
        show_chart(scatter(frame, metric), frame, f"accuracy-{metric}")
        st.caption(
            "Each point is a closed loop served by vLLM, predicted by coefficients that have seen "
            "no run of its model; the band is 10 % either way. Source: InferenceX, as collected "
            "in aiconfigurator-core 0.12.0. fitcalc validate makes these rows."
        )
        st.dataframe(errors_frame(frame), hide_index=True, column_config=_ONE_DECIMAL)
    show_classes()


def show_classes() -> None:
    """Show what each GPU's numbers rest on, and how wide its intervals are."""
    st.subheader("What a GPU's numbers rest on", anchor=False)
    rows = []
    for gpu in load_gpus():
        kind = load_efficiency(gpu).calibrated
        ends = [spread(metric, kind, is_moe=moe) for metric in METRICS for moe in (False, True)]
        said = [f"{100 * (e.low - 1):+.0f} to {100 * (e.high - 1):+.0f} %" for e in ends]
        rows.append((gpu.name, kind.value, _WORDS[kind], *said))
    heads = ("GPU", "numbers", "rest on", "TPOT, dense", "TPOT, MoE", "TTFT, dense", "TTFT, MoE")
    st.dataframe(pd.DataFrame(rows, columns=list(heads)), hide_index=True)
    st.caption("Eight of ten servers are expected within these ends of a predicted mean.")


page()
