"""Loads as ``vllm bench serve`` drives them, and mixes of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fitcalc
from fitcalc.cli.main import run
from fitcalc.errors import FitcalcError
from fitcalc.inputs.mix_file import read_mix
from fitcalc.inputs.mixture import Mix, TrafficClass
from fitcalc.inputs.ramp import RampUp, RampUpStrategy
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.simulated import Run, run_simulation
from tests.simulation.test_simulate_command import answer

SHAPE = ("--isl", "575", "--osl", "100", "--json")
MIX = """
[[class]]
name = "chat"
qps = 5
isl = "1k"
osl = 200

[[class]]
name = "batch"
qps = 1.5
isl = { kind = "lognormal", average = 6000, cv = 0.5 }
osl = 50
priority = 1
"""


def served(load: Traffic | Trace | Mix, **options: Any) -> Run:
    done = run_simulation("llama-3.1-8b", "h100", None, load, **options)
    assert isinstance(done, Run)
    return done


def test_a_paced_loop_keeps_both_bounds() -> None:
    traffic = Traffic(qps=60, isl=575, osl=100, num_requests=400)
    free, held = served(traffic), served(traffic, max_concurrency=8)
    seen = held.records
    asked = Trace.from_traffic(traffic).arrival_s
    assert (seen.arrival_s >= asked - 1e-12).all()
    under_way = [
        int(((seen.arrival_s <= at) & (seen.finish_s > at)).sum()) for at in seen.arrival_s
    ]
    assert max(under_way) == 8
    assert held.answer.requests_per_s < free.answer.requests_per_s
    # few at a low rate: nobody is ever held
    slow = Traffic(qps=0.2, isl=575, osl=100, num_requests=40)
    np.testing.assert_allclose(
        served(slow, max_concurrency=8).records.arrival_s, Trace.from_traffic(slow).arrival_s
    )


def test_rate_and_clients_together_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def rate(*words: str) -> float:
        code, out, err = answer(capsys, *SHAPE, "--num-requests", "300", *words)
        assert (code, err) == (0, "")
        return float(json.loads(out)["requests_per_s"])

    assert rate("--qps", "20", "--concurrency", "64") == pytest.approx(20, rel=0.1)
    assert rate("--qps", "20", "--concurrency", "1") == pytest.approx(rate("--concurrency", "1"))
    assert rate("--qps", "inf", "--concurrency", "4") == rate("--concurrency", "4")
    assert rate("--qps", "inf") == rate("--concurrency", "300")


def test_gaps_are_scaled_as_the_benchmark_scales_them() -> None:
    for burstiness in (0.2, 1.0, 10.0):
        traffic = Traffic(qps=4, burstiness=burstiness, isl=9, osl=9, num_requests=201)
        assert Trace.from_traffic(traffic).span_s == pytest.approx(50.0)


@pytest.mark.parametrize("strategy", RampUpStrategy)
def test_a_ramp_rises(strategy: RampUpStrategy) -> None:
    ramp = RampUp(strategy=strategy, start_rps=2, end_rps=32)
    rates = ramp.rates(5)
    # vllm/benchmarks/serve.py, _get_current_request_rate
    expected = [2, 9.5, 17, 24.5, 32] if strategy == "linear" else [2, 4, 8, 16, 32]
    assert rates.tolist() == pytest.approx(expected)
    times = ramp.arrivals_s(np.random.default_rng(0), 40_000)
    assert 5_000 / times[5_000] < 10_000 / (times[-1] - times[30_000])
    assert times[-1] == pytest.approx((1 / ramp.rates(40_000)).sum(), rel=0.02)


def test_a_ramp_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--ramp-up-strategy", "linear", "--ramp-up-start-rps", "2")
    code, out, _ = answer(
        capsys, *SHAPE, *words, "--ramp-up-end-rps", "10", "--num-requests", "100"
    )
    assert code == 0
    assert json.loads(out)["num_requests"] == 100
    for more in ((), ("--ramp-up-end-rps", "1"), ("--ramp-up-end-rps", "9", "--qps", "3")):
        code, out, err = answer(capsys, *SHAPE, *words, *more)
        assert (code, out) == (2, "")
        assert "Traceback" not in err


def test_warm_ups_leave_the_first_prompt_cached() -> None:
    traffic = Traffic(qps=2, isl=700, osl=20, num_requests=30)
    cold, warm = served(traffic), served(traffic, num_warmups=1)
    assert cold.records.cached_tokens.tolist() == [0] * 30
    assert warm.records.cached_tokens.tolist() == [688, *[0] * 29]  # 43 blocks of 16
    assert warm.records.ttft_s[0] < cold.records.ttft_s[0]
    assert warm.answer.num_requests == 30


def test_classes_of_a_file_are_told_apart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(MIX)
    words = ("--mix", str(path), "--num-requests", "800", "--scheduling-policy", "priority")
    code, out, _ = answer(capsys, *words, "--ttft", "400", "--json")
    assert code == 0
    told = json.loads(out)
    chat, batch = told["classes"]
    assert (chat["name"], batch["name"]) == ("chat", "batch")
    assert chat["num_requests"] + batch["num_requests"] == 800
    assert chat["num_requests"] / 800 == pytest.approx(5 / 6.5, abs=0.05)
    mean = (chat["ttft_ms"]["mean"] * chat["num_requests"]) + (
        batch["ttft_ms"]["mean"] * batch["num_requests"]
    )
    assert mean / 800 == pytest.approx(told["ttft_ms"]["mean"])
    met = chat["slo_met"] * chat["num_requests"] + batch["slo_met"] * batch["num_requests"]
    assert met / 800 == pytest.approx(told["slo_met"])
    code, out, _ = answer(capsys, *words, "--ttft", "400")
    assert "Class by class" in out
    code, _, err = answer(capsys, *words[:4])
    assert (code, "scheduling_policy" in err) == (2, True)


def test_priority_serves_its_class_first() -> None:
    calm = Traffic(qps=2, isl=500, osl=50)
    flood = Traffic(qps=40, isl=4000, osl=100)
    mix = Mix((TrafficClass(calm, 0, name="chat"), TrafficClass(flood, 1, name="batch")), 600)
    engine = fitcalc.EngineArgs(max_num_seqs=16, scheduling_policy="priority")
    first = fitcalc.simulate("llama-3.1-8b", "h100", engine, mix)
    assert isinstance(first, fitcalc.Simulation)
    chat, batch = first.classes
    assert chat.queue_ms.p50 < batch.queue_ms.p50 / 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "mix.toml = 'x'"),
        ("[[class]]\n", "mix.toml line 1: name"),
        ("[class\n", "mix.toml line 1: mend the TOML"),
        (MIX.replace("qps = 1.5", "qps = -1"), "mix.toml line 10: qps = '-1.0'"),
        (MIX.replace('isl = "1k"', 'isl = "many"'), "mix.toml line 5: isl = 'many'"),
        (MIX.replace("osl = 50", "osl = 0"), "mix.toml line 12: osl"),
        (MIX.replace("osl = 50", "osll = 50"), "mix.toml line 12: osll"),
        (MIX.replace('name = "batch"', 'name = "chat"'), "each class its own name"),
        (MIX + 'rates = "none.csv"', "mix.toml line 14: rates"),
        (MIX.replace("priority = 1", 'lengths = "x.csv"'), "mix.toml line 13: lengths"),
        (MIX.replace("qps = 5", ""), "mix.toml line 2: qps"),
    ],
)
def test_mistakes_of_a_mix_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(text)
    with pytest.raises(FitcalcError) as error:
        read_mix(path)
    assert said in str(error.value)


def test_histograms_of_lengths(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    rows = "kind,tokens_bucket_upper,probability\ninput,100,0.5\ninput,300,0.5\noutput,20,1\n"
    path.write_text(rows)
    words = ("--lengths", str(path), "--qps", "5", "--num-requests", "400", "--json")
    code, out, _ = answer(capsys, *words)
    assert code == 0
    told = json.loads(out)
    each = told["total_tokens_per_s"] / told["requests_per_s"]
    assert each == pytest.approx(220, rel=0.05)
    code, _, err = answer(capsys, *words, "--isl", "7")
    assert (code, "without isl" in err) == (2, True)
    code, _, err = answer(capsys, "--lengths", str(tmp_path / "no.csv"), "--qps", "5")
    assert (code, "lengths = " in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--trace", "x.csv", "--mix", "y.toml"),
        ("--mix", "y.toml", "--qps", "3"),
        ("--isl", "9", "--osl", "9", "--qps", "inf"),
        ("--isl", "9", "--osl", "9", "--qps", "inf", "--rates", "day"),
        ("--isl", "9", "--osl", "9", "--qps", "nan"),
        ("--isl", "9", "--osl", "9", "--qps", "-1"),
        ("--isl", "9", "--osl", "9"),
    ],
)
def test_loads_that_make_no_sense(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(("simulate", "--model", "llama-3.1-8b", "--gpu", "h100", *words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_hashes_that_nobody_looks_up_are_told() -> None:
    ids = ((1, 2),) * 3
    trace = Trace(np.array([0.0, 9, 18]), np.full(3, 1200), np.full(3, 9), hash_ids=ids)
    for model, notes in (
        ("llama-3.1-8b", 0),
        ("gpt-oss-20b", 0),  # its windows cache the common start once two have had it
        ("qwen3.5-27b", 1),
    ):
        done = run_simulation(model, "h200", None, trace)
        assert isinstance(done, Run)
        assert len(done.answer.notes) == notes
        assert done.records.cached_tokens[2] == (0 if notes else 1024)
