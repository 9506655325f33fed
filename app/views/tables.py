"""The tables behind every answer: GPUs, models and prices, with sources and dates."""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from fitcalc.catalog.gpu import gpu_figures, gpu_ids, load_gpu, load_gpus
from fitcalc.catalog.model import load_model, model_ids
from fitcalc.catalog.price import all_offers
from fitcalc.errors import FitcalcError
from fitcalc.report.gpu_view import row_json as gpu_row
from fitcalc.report.model_view import row_json as model_row
from fitcalc.units import GIB, GIGA, KIB, TERA
from share import plain

_LINK: Final = "query-params"
_TABLES: Final = ("GPUs", "Models", "Prices")
_NUMBER: Final = st.column_config.NumberColumn
_FORMATS: Final = {
    "memory (GiB)": _NUMBER(format="%.1f"),
    "bandwidth (TB/s)": _NUMBER(format="%.2f"),
    "bf16 (TFLOPS)": _NUMBER(format="%.0f"),
    "fp8 (TFLOPS)": _NUMBER(format="%.0f"),
    "from (USD/h)": _NUMBER(format="%.2f"),
    "parameters (billions)": _NUMBER(format="%.1f"),
    "active (billions)": _NUMBER(format="%.1f"),
    "KV cache (KiB a token)": _NUMBER(format="%.1f"),
    "USD/h a GPU": _NUMBER(format="%.2f"),
}


@st.cache_data
def gpus_frame() -> pd.DataFrame:
    """Return a line a GPU; peaks are dense."""
    rows = [gpu_row(gpu) for gpu in load_gpus()]
    frame = pd.DataFrame(rows)
    peaks = frame["dense_flops_per_s"]
    return pd.DataFrame({
        "id": frame["id"],
        "name": frame["name"],
        "memory (GiB)": frame["memory_bytes"] / GIB,
        "bandwidth (TB/s)": frame["memory_bandwidth_bytes_per_s"] / TERA,
        "bf16 (TFLOPS)": [p.get("bf16", float("nan")) / TERA for p in peaks],
        "fp8 (TFLOPS)": [p.get("fp8", float("nan")) / TERA for p in peaks],
        "from (USD/h)": frame["usd_per_gpu_hour"],
    })  # fmt: skip


@st.cache_data(show_spinner="Reading models")
def models_frame() -> pd.DataFrame:
    """Return a line a model; the cache is in 16 bits."""
    frame = pd.DataFrame(model_row(load_model(name)) for name in model_ids())
    return pd.DataFrame({
        "id": frame["id"],
        "Hugging Face": frame["hf_id"],
        "parameters (billions)": frame["total_params"] / GIGA,
        "active (billions)": frame["active_params"] / GIGA,
        "longest (tokens)": frame["max_position_embeddings"],
        "KV cache (KiB a token)": frame["kv_bytes_per_token"] / KIB,
        "format": frame["checkpoint_format"],
    })  # fmt: skip


@st.cache_data
def prices_frame() -> pd.DataFrame:
    """Return a line an offer, dated and with its source."""
    return pd.DataFrame(
        {
            "GPU": offer.gpu,
            "cloud": offer.cloud,
            "instance": offer.instance,
            "GPUs": offer.gpus,
            "USD/h a GPU": offer.usd_per_gpu_hour,
            "region": offer.region,
            "checked": offer.checked,
            "source": offer.source,
        }
        for offer in all_offers()
    )


def figures_frame(name: str) -> pd.DataFrame:
    """Return each figure of a GPU with its unit and source."""
    return pd.DataFrame(
        {"figure": field, "value": f.value, "unit": f.unit, "source": source, "note": f.note}
        for field, f, source in gpu_figures(load_gpu(name).id)
    )


def page() -> None:
    """Ask which table, and show it."""
    st.title("Tables", anchor=False)
    with st.sidebar:
        table = st.radio("Table", _TABLES, key="table", bind=_LINK)
        part = st.text_input("Names with", key="find", bind=_LINK, placeholder="h100")
    frames = {"GPUs": gpus_frame, "Models": models_frame, "Prices": prices_frame}
    try:
        frame = frames[table]()
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    if part:
        words = frame.iloc[:, :3].astype(str).agg(" ".join, axis=1)
        frame = frame[words.str.contains(part, case=False, regex=False)]
    st.dataframe(frame, hide_index=True, column_config=_FORMATS, key=f"rows-{table}")
    st.caption(f"{len(frame)} rows")
    st.download_button(
        "Rows as CSV", frame.to_csv(index=False), f"{table.lower()}.csv", "text/csv",
        on_click="ignore",
    )  # fmt: skip
    if table == "GPUs":
        st.subheader("Where a GPU's figures come from", anchor=False)
        name = st.selectbox("GPU", gpu_ids(), gpu_ids().index("h100_sxm"), key="gpu", bind=_LINK)
        st.dataframe(figures_frame(name), hide_index=True)


page()
