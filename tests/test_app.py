"""The dashboard without a browser: the address is read, mistakes are sentences."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

import palette
import upload
from fitcalc.cli.main import run
from fitcalc.planning.choice import Plan
from fitcalc.units import MIB

ROOT = Path(__file__).parent.parent
HOME = str(ROOT / "app" / "Home.py")
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
        "Hosted API, USD/h",
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
    assert app.error[0].value.startswith(f"{named} ")


@pytest.mark.parametrize(
    "typed", ["/etc/passwd", "../../x", "~/x", "config.json", "app", "docs/model.md"]
)
def test_a_path_as_a_model_is_refused(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    read = Mock(side_effect=AssertionError("a file of the server was read"))
    monkeypatch.setattr("fitcalc.catalog.model.read_config", read)
    app = opened(model=typed)
    assert not app.exception
    assert app.error[0].value.startswith(f"model = '{typed}'")
    assert "reads no files" in app.error[0].value
    assert not read.called


def test_the_server_takes_uploads_as_large_as_a_page_reads_and_tells_nobody() -> None:
    config = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] * MIB == upload.MOST_BYTES
    assert config["server"]["enableXsrfProtection"]
    assert not config["browser"]["gatherUsageStats"]
    for theme in (config["theme"]["light"], config["theme"]["dark"]):
        assert set(theme["chartCategoricalColors"]) == set(palette.SERIES)
        assert theme["primaryColor"] in palette.SERIES


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
