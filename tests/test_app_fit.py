"""Memory's page: the ledger adds up, the lines shown give the same answer, a no is a sentence."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc import EngineArgs
from fitcalc.answers import MemoryLedger
from fitcalc.cli.main import run
from fitcalc.planning.fit_answers import FitAnswers
from fitcalc.planning.fits import ask

APP = Path(__file__).parent.parent / "app"
PATIENCE_S = 60


def opened(**address: str) -> AppTest:
    """Open memory's page at an address whose keys are the options' names."""
    app = AppTest.from_file(str(APP / "Home.py"), default_timeout=PATIENCE_S)
    app.switch_page("views/fit.py")
    for name, value in address.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def figure(app: AppTest, label: str) -> float:
    found = next(metric.value for metric in app.metric if metric.label.startswith(label))
    return float(found.split()[0].replace(",", ""))


def test_the_page_says_what_fits() -> None:
    app = opened()
    assert not app.exception
    assert not app.error
    assert app.main.subheader[0].value.endswith(" fits")
    assert figure(app, "Users at 8k tokens") > 1
    assert figure(app, "Longest for 16 at once") > 8192


@pytest.mark.parametrize(
    "address",
    [
        {"ctx": "4k", "concurrency": "64", "kv_cache_dtype": "fp8", "tp": "2"},
        {"model": "70b", "reserved": "4GiB", "gpu_memory_utilization": "0.8"},
    ],
)
def test_the_lines_shown_give_the_same_answer(
    address: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    app = opened(**address)
    assert not app.exception
    run([*shlex.split(app.code[-2].value)[1:], "--json"])
    told = json.loads(capsys.readouterr().out)
    made: dict[str, FitAnswers] = {}
    exec(app.code[-1].value, made)  # noqa: S102 - our own page's words
    found = made["found"]
    assert json.loads(found.model_dump_json(include=set(found.asked))) == told["answers"]
    memory = found.memory
    if isinstance(memory, MemoryLedger):
        assert told["kv_cache_bytes"] == memory.kv_cache_bytes
        assert figure(app, "KV cache") == pytest.approx(memory.kv_cache_bytes / 2**30, abs=0.06)
    else:
        assert told["needed"] == memory.needed
        assert app.error


def test_more_memory_for_vllm_holds_more_users() -> None:
    app = opened(gpu_memory_utilization="0.7")
    before = figure(app, "Users at")
    app.slider(key="gpu-memory-utilization").set_value(0.9).run()
    assert figure(app, "Users at") > before


def test_a_model_too_large_is_explained_with_what_would_hold_it() -> None:
    app = opened(model="70b")
    assert not app.exception
    assert app.main.subheader[0].value.endswith(" does not fit")
    assert app.error[0].value.startswith("Too little memory: needs ")
    assert "The least that holds it and 16 requests at once: " in app.markdown[0].value
    assert len(app.dataframe[0].value) > 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"model": "no-such-model"}, "no model 'no-such-model'"),
        ({"ctx": "8x"}, "ctx = "),
        ({"reserved": "4 parsecs"}, "reserved = "),
        ({"reserved": "4GiB; rm"}, "reserved = "),
    ],
)
def test_a_mistake_is_a_sentence(address: dict[str, str], words: str) -> None:
    app = opened(**address)
    assert not app.exception
    assert app.error[0].value.startswith(words)


def test_users_wait_where_the_room_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(APP)
    from room import Held, answer  # noqa: PLC0415 - a module of the app
    from room_charts import rooms_frame  # noqa: PLC0415 - a module of the app
    from server import Server  # noqa: PLC0415 - a module of the app

    server = Server("llama-3.1-8b-instruct", "l4", EngineArgs(quantization="fp8"))
    found, cells = answer(Held(server, 5000, 3, ""))
    assert isinstance(found.memory, MemoryLedger)
    rows = rooms_frame(cells, found.memory)
    assert ((rows["context"] == 5000) & (rows["users"] == 3)).sum() == 1
    assert rows["fits"].any()
    assert not rows["fits"].all()
    for _, column in rows.groupby("context"):
        assert column["taken (%)"].is_monotonic_increasing
    alone = ask(server.model, server.gpu, server.engine.replace(max_model_len=5000)).ledger()
    assert isinstance(alone, MemoryLedger)
    five = rows[rows["context"] == 5000]["run at once"].iloc[0]
    assert five == pytest.approx(alone.max_concurrency)
