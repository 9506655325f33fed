"""Docs and code share one formula: the page of equations is the docstrings' own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_equations_is_the_docstrings_own() -> None:
    spec = importlib.util.spec_from_file_location("model_page", DOCS / "model_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = "run `python docs/model_page.py`"
    assert module.page() == (DOCS / "model.md").read_text(encoding="utf-8"), said
