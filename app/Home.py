"""The dashboard's frame: its pages, and nothing else."""

from __future__ import annotations

import streamlit as st

PAGES = (
    st.Page("views/plan.py", title="Plan", default=True),
    st.Page("views/fit.py", title="Fit"),
    st.Page("views/latency.py", title="Latency"),
    st.Page("views/traffic.py", title="Traffic"),
    st.Page("views/compare.py", title="Compare"),
    st.Page("views/accuracy.py", title="Accuracy"),
    st.Page("views/tables.py", title="Tables"),
)

# What a visitor has picked; Streamlit's own white is too faint on the dark theme's blue.
_PICKED = '[data-testid="stMultiSelect"] [data-tag]'
_STYLE = f"<style>{_PICKED} {{color: inherit; background: none; border: 1px solid}}</style>"

st.set_page_config(page_title="fitcalc", layout="wide")
st.html(_STYLE)
st.navigation(list(PAGES), position="top").run()
