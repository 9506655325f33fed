"""``fitcalc simulate``: its options, its files and its mistakes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcalc.answers import Rejection
from fitcalc.cli.main import run
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.simulated import run_simulation
from fitcalc.simulation.fleet import simulate_fleet
from fitcalc.simulation.over_time import over_time
from fitcalc.simulation.records import Records
from fitcalc.simulation.settings import SchedulerSettings

WHERE = ("--model", "llama-3.1-8b", "--gpu", "h100")
LOAD = ("--isl", "575", "--osl", "100", "--qps", "10", "--num-requests", "200")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run one command line in this process; a model named later counts."""
    code = run(("simulate", *WHERE, *words))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_every_request_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    code, out, _ = answer(
        capsys, *WHERE, *LOAD, "--records", str(path), "--replicas", "2", "--json"
    )
    assert code == 0
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == json.loads(out)["num_requests"] == 200
    first = [float(row["first_token_s"]) - float(row["arrival_s"]) for row in rows]
    assert np.mean(first) * 1e3 == pytest.approx(json.loads(out)["ttft_ms"]["mean"])
    assert {row["replica"] for row in rows} == {"0", "1"}
    code, _, err = answer(capsys, *LOAD, "--records", str(tmp_path / "no" / "x.csv"))
    assert code == 2
    assert "cannot be written" in err


def test_goodput_plot_and_batching_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *LOAD, "--ttft", "500", "--plot", "--batching", "all")
    assert code == 0
    for word in ("kept the promise", "KV cache %", "static", "dynamic", "continuous", "█"):
        assert word in out
    code, _, err = answer(capsys, *LOAD, "--batching", "some")
    assert code == 2
    assert "batching" in err


def test_until_the_interval_is_tight(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(
        capsys, *WHERE, *LOAD[:6], "--until-ci", "5%", "--num-requests", "400", "--json"
    )
    assert code == 0
    assert json.loads(out)["num_requests"] >= 400
    code, _, err = answer(capsys, *LOAD, "--until-ci", "tight")
    assert code == 2
    assert "until_ci" in err


def test_bad_rows_are_named_or_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,10,5\n1,0,5\n2,10,5\n")
    code, _, err = answer(capsys, "--trace", str(path))
    assert code == 2
    assert "row 3" in err
    code, out, err = answer(capsys, "--trace", str(path), "--skip-bad", "--json")
    assert code == 0
    assert json.loads(out)["num_requests"] == 2
    assert json.loads(out)["skipped"] == 1


def test_too_long_requests_are_refused_and_counted() -> None:
    trace = Trace(np.arange(3.0), np.array([100, 5000, 100]), np.array([10, 10, 10]))
    engine = EngineArgs(max_model_len=2048)
    done = run_simulation("llama-3.1-8b", "h100", engine, trace, slo=Slo())
    assert not isinstance(done, Rejection)
    assert (done.answer.refused, done.answer.num_requests) == (1, 2)
    assert done.answer.slo_met == 1.0


def test_sums_over_time_are_the_answers() -> None:
    traffic = Traffic(qps=20, isl=575, osl=100, num_requests=500)
    done = run_simulation("llama-3.1-8b", "h100", None, traffic)
    assert not isinstance(done, Rejection)
    found = over_time(done.records, bins=40)
    width = float(found.time_s[1] - found.time_s[0])
    assert found.arrivals.sum() * width == pytest.approx(500)
    assert found.batch.sum() * width == pytest.approx(done.records.running_s)
    assert found.busy.sum() * width == pytest.approx(done.records.busy_s)
    assert found.queue.sum() * width == pytest.approx(done.records.queue_s.sum())
    assert found.output_tokens.sum() * width == pytest.approx(500 * 99)


def test_a_gpu_that_holds_no_model_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "--model", "70b", "--gpu", "l4", *LOAD)
    assert code == 1
    assert "needs" in out


def test_a_day_has_peaks(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--isl", "100", "--osl", "20", "--rates", "day", "--qps", "0.05", "--json")
    code, out, _ = answer(capsys, *words)
    assert code == 0
    assert json.loads(out)["num_requests"] == round(0.05 * 86_400)
    code, _, err = answer(capsys, "--isl", "100", "--osl", "20", "--rates", "day")
    assert code == 2
    assert "qps" in err


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (("--max-num-active-seqs", "4"), {"max_num_active_seqs": 4}),
        (("--long-prefill-token-threshold", "64"), {"long_prefill_token_threshold": 64}),
        (("--prefill-schedule-interval", "8"), {"prefill_schedule_interval": 8}),
        (("--scheduling-policy", "priority"), {"policy": "priority"}),
        (("--watermark", "0.2"), {"watermark": 0.2}),
    ],
)
def test_settings_of_the_scheduler_reach_it(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], change: dict[str, Any]
) -> None:
    seen: list[SchedulerSettings] = []

    def spy(*args: Any, **options: Any) -> Records:
        seen.append(args[0][0].settings)
        return simulate_fleet(*args, **options)

    monkeypatch.setattr("fitcalc.planning.serving.simulate_fleet", spy)
    assert run(("simulate", *WHERE, *LOAD, "--json")) == 0
    assert run(("simulate", *WHERE, *LOAD, "--json", *words)) == 0
    plain, other = seen
    assert other == replace(plain, **change)
