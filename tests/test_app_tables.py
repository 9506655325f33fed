"""The pages that show what stands behind the answers: runs and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc.catalog.accuracy import measured_runs
from fitcalc.catalog.gpu import gpu_ids

APP = Path(__file__).parent.parent / "app"


def opened(view: str, **address: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(APP / "views" / f"{view}.py"), default_timeout=60)
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def test_every_run_is_shown_with_its_left_out_prediction() -> None:
    app = opened("accuracy")
    assert not app.exception
    runs = measured_runs()
    assert app.metric[0].value == f"{len(runs)}"
    off = [abs(run.predicted_tpot_ms / run.tpot_ms - 1.0) for run in runs]
    assert app.metric[1].value == f"{100 * sum(off) / len(off):.1f} %"
    rests = app.dataframe[1].value
    assert len(rests) == len(gpu_ids())
    assert set(rests["numbers"]) == {"measured", "transferred", "datasheet"}


def test_the_address_chooses_the_runs() -> None:
    app = opened("accuracy", metric="ttft", gpu=["h200_sxm"])
    assert set(app.dataframe[0].value["GPU"]) == {"h200_sxm"}
    mine = [run for run in measured_runs() if run.gpu == "h200_sxm"]
    assert app.metric[0].value == f"{len(mine)}"
    off = [abs(run.predicted_ttft_ms / run.ttft_ms - 1.0) for run in mine]
    assert app.metric[1].value == f"{100 * sum(off) / len(off):.1f} %"


def test_runs_that_nobody_made_are_said_to_be_missing() -> None:
    app = opened("accuracy", gpu=["h100_sxm"], model=["Kimi-K2.5"])
    assert not app.exception
    assert app.info[0].value.startswith("No run of these models")


@pytest.mark.parametrize(
    ("table", "find", "column", "word"),
    [
        ("GPUs", "h100", "id", "h100_sxm"),
        ("Models", "mixtral", "Hugging Face", "mistralai/Mixtral-8x7B-v0.1"),
        ("Prices", "b200", "GPU", "b200_sxm"),
    ],
)
def test_a_table_is_found_by_a_part_of_a_name(
    table: str, find: str, column: str, word: str
) -> None:
    app = opened("tables", table=table, find=find)
    assert not app.exception
    shown = app.dataframe[0].value
    assert word in set(shown[column])
    assert shown.iloc[:, :3].astype(str).agg(" ".join, axis=1).str.contains(find, case=False).all()


def test_a_gpu_s_figures_have_sources() -> None:
    figures = opened("tables", gpu="l4").dataframe[1].value
    assert {"figure", "unit", "source"} <= set(figures.columns)
    assert (figures["source"].str.len() > 0).all()
