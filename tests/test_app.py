"""The dashboard without a browser: the address is read, mistakes are sentences."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc.cli.main import run
from fitcalc.planning.choice import Plan

HOME = str(Path(__file__).parent.parent / "app" / "Home.py")
PATIENCE_S = 60


def opened(**address: str | list[str]) -> AppTest:
    """Open the dashboard at an address whose keys are the options' names."""
    app = AppTest.from_file(HOME, default_timeout=PATIENCE_S)
    for name, value in {"gpu": ["h100_sxm"], "quantization": ["fp8"], **address}.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def test_the_answer_stands_beside_the_question() -> None:
    app = opened()
    assert not app.exception
    assert not app.error
    assert {metric.label for metric in app.metric} == {
        "GPUs", "USD an hour", "First token, p95", "Between tokens, p95",
    }  # fmt: skip
    assert "x NVIDIA H100" in app.main.subheader[0].value
    assert app.code[0].value.startswith("vllm serve ")


def test_the_address_is_the_question() -> None:
    app = opened(isl="1000", osl="100", ctx="", qps="3", ttft="900", percentile="90")
    assert not app.exception
    assert app.text_input(key="isl").value == "1000"
    assert app.number_input(key="qps").value == 3
    assert app.metric[2].label == "First token, p90"
    command = app.code[-2].value
    assert "--isl 1000 --osl 100 --qps 3" in command
    assert "--ttft 900" in command
    assert "--ctx" not in command


def test_the_command_line_shown_gives_the_same_answer(capsys: pytest.CaptureFixture[str]) -> None:
    app = opened(ctx="4k", qps="5")
    program, *words = shlex.split(app.code[-2].value)
    assert (program, run(words)) == ("fitcalc", 0)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == app.main.subheader[0].value.replace("\\$", "$")


def test_a_change_of_a_widget_changes_the_answer() -> None:
    app = opened(ctx="4k")
    before = int(app.metric[0].value)
    app.number_input(key="qps").set_value(200.0).run()
    assert int(app.metric[0].value) > before


def test_a_model_that_no_table_knows_is_a_sentence() -> None:
    app = opened(model="no-such-model")
    assert not app.exception
    assert re.match("no model 'no-such-model'; ", app.error[0].value)


@pytest.mark.parametrize(
    ("address", "named"),
    [({"ctx": "8x"}, "ctx"), ({"ctx": "900k"}, "ctx"), ({"ctx": "", "isl": "7"}, "osl")],
)
def test_a_mistake_is_a_sentence(address: dict[str, str | list[str]], named: str) -> None:
    app = opened(**address)
    assert not app.exception
    assert app.error[0].value.startswith(f"{named} = ")


def test_nothing_fits_is_said_with_what_is_missing() -> None:
    app = opened(max_gpus="1")
    assert not app.exception
    assert app.error[0].value.startswith("Nothing fits. Closest: ")


def test_the_python_shown_gives_the_same_answer() -> None:
    app = opened(ctx="4k", qps="5", ttft="900", kv_cache_dtype="fp8", cloud="aws")
    names: dict[str, Plan] = {}
    exec(app.code[-1].value, names)  # noqa: S102 - our own page's words
    best = names["found"].best
    assert best is not None
    assert int(app.metric[0].value) == best.gpu_count
    assert best.engine.kv_cache_dtype == "fp8"
