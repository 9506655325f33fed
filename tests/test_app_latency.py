"""The latency's page without a browser: what it shows is what the library says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc import Prediction
from fitcalc.cli.main import run
from fitcalc.report.words import milliseconds

VIEW = str(Path(__file__).parent.parent / "app" / "views" / "latency.py")
PATIENCE_S = 60


def opened(**address: str) -> AppTest:
    """Open the page at an address whose keys are the options' names."""
    app = AppTest.from_file(VIEW, default_timeout=PATIENCE_S)
    for name, value in address.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def charts(app: AppTest) -> list[dict[str, object]]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def axis_titles(spec: object) -> set[str]:
    """Titles of every axis of a chart, those of its layers too."""
    if isinstance(spec, list):
        return set().union(*map(axis_titles, spec))
    if not isinstance(spec, dict):
        return set()
    encoding = spec.get("encoding", {})
    own = {encoding[axis].get("title") for axis in ("x", "y") if axis in encoding}
    return {title for title in own if title} | axis_titles(spec.get("layer", []))


def test_the_four_charts_have_axes_with_units() -> None:
    app = opened()
    assert not app.exception
    titles = [axis_titles(chart) for chart in charts(app)]
    assert len(titles) == 4
    assert all(len(some) == 2 and all(t.endswith(")") for t in some) for some in titles), titles


def test_the_address_is_the_question_and_both_ways_to_ask_it_agree(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = opened(
        model="qwen3-8b", gpu="l40s", isl="1k", osl="100", qps="1.5", percentile="90",
        kv_cache_dtype="fp8", gpu_memory_utilization="0.85",
    )  # fmt: skip
    assert not app.exception
    program, *words = shlex.split(app.code[0].value)
    assert (program, run([*words, "--json"])) == ("fitcalc", 0)
    said = Prediction.model_validate_json(capsys.readouterr().out)
    names: dict[str, Prediction] = {}
    exec(app.code[1].value, names)  # noqa: S102 - our own page's words
    assert names["found"] == said
    assert app.metric[0].label == "First token, p90"
    assert app.metric[0].value == milliseconds(said.ttft_ms.p90)
    assert app.metric[1].value == milliseconds(said.itl_ms.p90)


def test_a_faster_promise_holds_at_a_lower_rate() -> None:
    app = opened()
    before = float(app.metric[2].value.removesuffix("/s"))
    app.number_input(key="itl").set_value(20.0).run()
    assert float(app.metric[2].value.removesuffix("/s")) < before
    app.number_input(key="itl").set_value(1.0).run()
    assert app.metric[2].value == "no rate"
    assert "breaks the promise" in app.main.subheader[0].value


def test_too_high_a_rate_is_a_sentence_and_the_curves_stay() -> None:
    app = opened(qps="900")
    assert not app.exception
    assert app.error[0].value.startswith("Too much for this server: 900 requests/s reach a server")
    assert len(charts(app)) == 4


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"model": "70b", "gpu": "4090"}, "does not start"),
        ({"isl": "8x"}, "isl = "),
        ({"isl": "4k", "max_model_len": "2k"}, "requests of 4,352 tokens pass"),
        ({"model": "no-such-model"}, "no model 'no-such-model'"),
    ],
)
def test_what_cannot_be_is_a_sentence(address: dict[str, str], words: str) -> None:
    app = opened(**address)
    assert not app.exception
    assert words in app.error[0].value
    assert not charts(app)


def test_answers_of_one_token_have_no_gaps() -> None:
    app = opened(osl="1")
    assert not app.exception
    assert app.info[0].value == "Answers of one token have no time between tokens."
    assert len(charts(app)) == 2
