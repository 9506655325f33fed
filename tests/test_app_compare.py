"""The page that compares without a browser: each side is what the library says of it alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc import Prediction
from fitcalc.cli.main import run
from fitcalc.report.words import number

VIEW = str(Path(__file__).parent.parent / "app" / "views" / "compare.py")
PATIENCE_S = 60
CHARTS = 3


def opened(**address: str) -> AppTest:
    """Open the page at an address whose keys are the options' names."""
    app = AppTest.from_file(VIEW, default_timeout=PATIENCE_S)
    for name, value in address.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def figure(app: AppTest, name: str) -> dict[str, str]:
    """Return one row of the table."""
    rows = app.dataframe[0].value.set_index("figure")
    return {str(column): str(value) for column, value in rows.loc[name].items()}


def test_each_side_is_what_both_ways_to_ask_say(capsys: pytest.CaptureFixture[str]) -> None:
    app = opened(gpu="h100_sxm", gpu_b="h200_sxm", tp_b="2", kv_cache_dtype_b="fp8", qps="2")
    assert not app.exception
    names: dict[str, Prediction] = {}
    exec(app.code[1].value, names)  # noqa: S102 - our own page's words
    for side, line in zip("AB", app.code[0].value.splitlines(), strict=True):
        assert run([*shlex.split(line)[1:], "--json"]) == 0
        said = Prediction.model_validate_json(capsys.readouterr().out)
        assert names[side.lower()] == said
        assert figure(app, "first token, p95 (ms)")[side] == number(said.ttft_ms.p95)
        low, high = map(number, said.interval.tpot_ms)
        mean = f"{number(said.tpot_ms.mean)} ({low} to {high})"
        assert figure(app, "per token, mean (ms)")[side] == mean
    assert len(app.get("vega_lite_chart")) == CHARTS


def test_twins_are_alike() -> None:
    app = opened(gpu="l40s")
    times = set(app.dataframe[0].value["B over A"])
    assert times == {"1.00x"}
    assert " 1 times the requests of " in app.main.subheader[0].value


def test_a_side_that_cannot_start_is_a_sentence_and_the_other_stays() -> None:
    app = opened(model_b="70b")
    assert not app.exception
    assert app.error[0].value.startswith("Server B does not start: ")
    assert app.main.subheader[0].value == "Of the two, A starts"
    assert len(app.get("vega_lite_chart")) == CHARTS


def test_a_rate_too_high_for_one_is_a_sentence() -> None:
    app = opened(qps="4")
    assert not app.exception
    assert app.warning[0].value.startswith("Too much for server B: ")
    assert figure(app, "first token, p95 (ms)")["B"] == "-"


def test_a_promise_that_one_cannot_keep_is_said() -> None:
    app = opened(itl="20")
    assert app.main.subheader[0].value.startswith("Only A (NVIDIA H100 SXM 80GB) keeps")
    app = opened(itl="1")
    assert app.main.subheader[0].value.startswith("Neither keeps")


def test_answers_of_one_token_have_no_gaps() -> None:
    app = opened(osl="1")
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == CHARTS - 1


def test_a_model_that_no_table_knows_is_a_sentence() -> None:
    app = opened(model_b="no-such-model")
    assert not app.exception
    assert "no model 'no-such-model'" in app.error[0].value
