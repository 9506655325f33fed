"""The traffic page: requests drawn or uploaded, simulated, and never trusted."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

import load
import upload
from fitcalc import Simulation
from fitcalc.cli.main import run
from fitcalc.errors import InvalidValue
from fitcalc.planning.choice import Plan
from upload import read_trace

APP = Path(__file__).parent.parent / "app"
TRACE = b"arrival_s,input_tokens,output_tokens\n0,100,10\n0.5,200,20\n"


def opened(**address: str) -> AppTest:
    app = AppTest.from_file(str(APP / "views" / "traffic.py"), default_timeout=60)
    for name, value in {"num-requests": "200", **address}.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def test_a_run_shows_what_users_feel_and_the_same_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = opened(qps="4", source="day", replicas="2")
    assert not app.exception
    names: dict[str, Simulation] = {}
    exec(app.code[-1].value, names)  # noqa: S102 - our own page's words
    found = names["found"]
    assert "Rates.day" in app.code[-1].value
    said = f"200 requests in {found.duration_s:,.1f} s"
    assert any(caption.value.startswith(said) for caption in app.caption)
    _, *words = shlex.split(app.code[-2].value)
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ttft_ms"]["p99"] == found.ttft_ms.p99


def test_a_day_is_priced_for_the_peak_by_the_hour_and_at_an_api() -> None:
    app = opened(source="day", qps="60", tp="2", quantization="fp8")
    assert not app.exception
    names: dict[str, Plan] = {}
    exec(app.code[0].value, names)  # noqa: S102 - our own page's words
    found = names["found"]
    assert found.best is not None
    assert found.best.usd_per_hour is not None
    assert found.day is not None
    assert found.hosted is not None
    engine = found.best.engine
    assert (engine.tensor_parallel_size, engine.max_num_seqs) == (2, 1024)
    totals = app.dataframe[0].value.set_index("way")
    cost = totals["USD a day"]
    assert cost["for the peak"] == pytest.approx(24 * found.best.usd_per_hour)
    assert cost["by the hour"] == pytest.approx(found.day.scaled.usd)
    host = found.hosted.hosts[0]
    requests = 24 * 3600 * 60
    inputs, outputs = host.usd_per_million_input_tokens, host.usd_per_million_output_tokens
    asked = requests * (575 * inputs + 248 * outputs) / 1e6
    assert cost[f"API of {host.host}"] == pytest.approx(asked)


def test_the_hours_of_a_file_are_priced() -> None:
    seconds = np.concatenate([np.arange(0, 3600, 0.1), np.arange(3600, 10_900, 2.0)])
    rows = "".join(f"{at:.1f},500,100\n" for at in seconds)
    app = opened(source="file", gpu="l40s", itl="60")
    app.file_uploader[0].set_value(("a.csv", TRACE[: TRACE.index(b"\n") + 1] + rows.encode(), ""))
    app.run()
    assert not app.exception
    assert "39,600 requests in 3 hours" in app.main.markdown[0].value
    totals = app.dataframe[0].value.set_index("way")
    assert totals["USD a file"]["for the peak"] > totals["USD a file"]["by the hour"]
    assert "Rates.counted(trace.arrival_s)" in app.code[0].value


def test_a_week_has_the_hours_of_one() -> None:
    app = opened(source="week", qps="30")
    assert not app.exception
    assert "in 168 hours" in app.main.markdown[0].value
    assert "USD a week" in app.dataframe[0].value
    assert "--rates week" in app.code[-2].value


def test_a_promise_that_no_server_keeps_is_a_sentence_beside_the_simulation() -> None:
    app = opened(source="day", itl="1")
    assert not app.exception
    assert app.error[0].value.startswith("Nothing fits. Closest: ")
    assert app.metric


def test_a_model_that_does_not_fit_is_a_sentence() -> None:
    app = opened(model="llama-3.1-405b", gpu="l4")
    assert not app.exception
    assert app.error[0].value.startswith("It does not run: ")


def test_many_requests_wait_for_a_word() -> None:
    app = opened(num_requests="100000")
    assert not app.exception
    assert not app.metric
    assert app.button[0].label == "Simulate 100,000 requests"


def test_nothing_is_simulated_before_the_file_is_there() -> None:
    app = opened(source="file")
    assert app.info[0].value == "Upload a file of requests in the sidebar."


def test_an_uploaded_file_is_read() -> None:
    for name, data in (("a.csv", TRACE), ("b.csv.gz", gzip.compress(TRACE))):
        assert read_trace(name, data, skip_bad=False).isl.tolist() == [100, 200]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_small_file_of_many_rows_is_read_so_far(
    end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MOST_ROWS", 100)
    head = TRACE.splitlines()[0] + end
    assert (
        len(read_trace("a.csv.gz", gzip.compress(head + (b"1,10,5" + end) * 1000), skip_bad=False))
        == 100
    )


def test_a_file_is_read_once_and_a_visitor_is_told_what_is_wrong_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Mock(side_effect=read_trace)
    monkeypatch.setattr(load, "read_trace", read)
    app = opened(source="file")
    app.file_uploader[0].set_value(("a.csv", TRACE, "text/csv")).run()
    assert not app.exception
    assert app.metric
    app.number_input(key="replicas").set_value(2).run()
    assert app.metric
    assert read.call_count == 1
    app.file_uploader[0].set_value(("a.csv", b"\x00\xff", "text/csv")).run()
    assert not app.exception
    assert "it is not text" in app.error[0].value


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.exe", TRACE, "give a file that ends in"),
        ("a.csv", b"\x00\xff\xfe" * 100, "trace"),
        ("a.csv", b"", "trace"),
        ("a.csv", gzip.compress(TRACE, mtime=0), "it is not text"),
        ("a.csv", TRACE.splitlines()[0] + b"\n0," + b"9" * 5000 + b",1\n", "input_tokens"),
        ("a.jsonl", b"[" * 200_000, "one JSON object"),
        ("a.csv.gz", b"PK\x03\x04" * 99, "pack the file anew"),
        ("a.csv", b"x" * (21 << 20), "at most 20 MiB"),
        ("a.csv.gz", gzip.compress(TRACE, mtime=0)[:-9], "pack the file anew"),
        ("a.csv.gz", gzip.compress(b"0" * (101 << 20), mtime=0), "at most 100 MiB of text"),
        ("../../etc/a.csv", b"arrival_s,input_tokens,output_tokens\n0,-1,5\n", "input_tokens"),
    ],
)
def test_a_hostile_file_is_a_sentence(name: str, data: bytes, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as told:
        read_trace(name, data, skip_bad=False)
    assert "\n" not in str(told.value)
