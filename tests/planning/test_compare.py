"""Two plans or configurations, term by term."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitcalc import (
    Choice,
    EngineArgs,
    FitcalcError,
    MemoryLedger,
    Plan,
    Slo,
    Traffic,
    compare,
    fit,
    plan,
    predict,
)
from fitcalc.cli.main import run
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.planning.comparison import Comparison, Group

CHAT = Traffic(qps=20, isl=2000, osl=300)
SLO = Slo(ttft_ms=1000, itl_ms=60)
MODEL = "llama-3.1-8b"
FILE = """
model = "8b"
[traffic]
isl = 2000
osl = 300
[slo]
ttft_ms = 1000
[engine]
max_num_seqs = 64
[scenario.small]
traffic.qps = 1
deployment.gpu = "l40s"
[scenario.large]
traffic.qps = 2
deployment.gpu = "h100"
"""


def planned(gpu: str, traffic: Traffic = CHAT) -> Plan:
    return plan(MODEL, traffic, SLO, gpus=[gpu])


def best(made: Plan) -> Choice:
    assert made.best is not None
    return made.best


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(planned("h100"), planned("l40s"))


def test_each_side_says_what_its_plan_says(found: Comparison) -> None:
    for side, gpu in (("a", "h100"), ("b", "l40s")):
        choice = best(planned(gpu))
        said = {term.name: getattr(term, side) for term in found.terms}
        assert said["GPU"] == choice.gpu
        assert said["GPUs"] == choice.gpu_count
        assert said["cost"] == choice.usd_per_hour
        assert said["cost of tokens"] == choice.usd_per_million_tokens
        assert said["TTFT at the promised percentile"] == choice.prediction.ttft_ms.p95
        assert said["max_num_seqs"] == choice.engine.max_num_seqs


def test_a_change_is_b_over_a(found: Comparison) -> None:
    cost = found.term("cost")
    assert isinstance(cost.a, float)
    assert isinstance(cost.b, float)
    assert cost.change == pytest.approx(cost.b / cost.a - 1)


def test_memory_and_time_sum_to_the_whole(found: Comparison) -> None:
    for side, gpu in (("a", "h100"), ("b", "l40s")):
        gib = [getattr(t, side) for t in found.terms if t.unit == "GiB"]
        assert sum(gib) == pytest.approx(best(planned(gpu)).memory.gpu_memory_bytes / 2**30)
        shares = [getattr(t, side) or 0.0 for t in found.terms if t.group is Group.TIME]
        assert sum(shares) == pytest.approx(100, abs=0.1)


def test_a_plan_beside_itself_differs_in_nothing() -> None:
    assert compare(planned("h100"), planned("h100")).differences == ()


def test_sides_swapped_are_the_same_terms_swapped(found: Comparison) -> None:
    back = compare(planned("l40s"), planned("h100"))
    assert [(t.name, t.b, t.a) for t in back.terms] == [(t.name, t.a, t.b) for t in found.terms]


def test_the_question_is_compared_too() -> None:
    made = compare(planned("h100"), planned("h100", CHAT.replace(qps=40)))
    asked = [term.name for term in made.differences if term.group is Group.QUESTION]
    assert asked == ["qps"]


def test_a_pinned_deployment_is_what_predict_and_fit_say() -> None:
    engine = EngineArgs(max_num_seqs=64, max_model_len=2300)
    pinned = Scenario(
        model=MODEL, traffic=CHAT, slo=SLO, engine=engine,
        deployment=Deployment(gpu="h100", replicas=4),
    )  # fmt: skip
    made = compare(pinned, planned("h100"))
    said = {term.name: term.a for term in made.terms}
    alone, room = (
        predict(MODEL, "h100", engine, CHAT.share(4), method="closed_form"),
        fit(MODEL, "h100", engine),
    )
    assert alone
    assert isinstance(room, MemoryLedger)
    assert said["E2E mean"] == alone.e2e_ms.mean  # type: ignore[union-attr]
    assert said["KV cache tokens, a server"] == room.kv_cache_tokens
    assert said["GPUs"] == 4
    assert said["requests, all servers"] == pytest.approx(20)


def test_a_plan_pinned_as_it_is_differs_in_no_latency() -> None:
    made = planned("h100")
    choice = best(made)
    settings = {name: getattr(choice.engine, name) for name in (
        "tensor_parallel_size", "kv_cache_dtype", "max_num_seqs", "max_num_batched_tokens",
        "max_model_len", "gpu_memory_utilization",
    )}  # fmt: skip
    pinned = Scenario(
        model=MODEL, traffic=CHAT, slo=SLO,
        engine=EngineArgs(quantization=choice.engine.weight_format, **settings),
        deployment=Deployment(gpu="h100", replicas=choice.replicas),
    )  # fmt: skip
    assert [term.name for term in compare(made, pinned).differences] == []


def test_the_command_reads_plans_and_scenarios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, file = tmp_path / "plan.json", tmp_path / "fitcalc.toml"
    saved.write_text(planned("h100").model_dump_json(), encoding="utf-8")
    file.write_text(FILE, encoding="utf-8")
    assert run(["compare", str(saved), f"{file}:small", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {term["b"] for term in made["terms"] if term["name"] == "GPU"} == {"l40s"}
    assert run(["compare", f"{file}:small", f"{file}:large"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "B beside A: costs" in out
    assert "The questions differ in qps." in out
    assert "--all shows them" in out
    assert run(["compare", f"{file}:small", f"{file}:large", "--markdown", "--all"]) == 0
    assert "| memory | weights, a GPU [GiB] |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("b", "words"),
    [
        ("fitcalc.toml", "name one of"),
        ("fitcalc.toml:chat", "name one of"),
        ("none.json", "No such file"),
        ("broken.json", "fitcalc plan --json"),
        ("lone.toml", "it does not run"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], b: str,
    words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("fitcalc.toml").write_text(FILE, encoding="utf-8")
    Path("broken.json").write_text("{}", encoding="utf-8")
    lone = 'model = "70b"\ntraffic = {qps = 1, ctx = 8000}\ndeployment.gpu = "l4"\n'
    Path("lone.toml").write_text(lone, encoding="utf-8")
    assert run(["compare", "fitcalc.toml:small", b]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_plan_that_found_nothing_cannot_be_compared() -> None:
    none = plan(MODEL, CHAT, Slo(ttft_ms=0.001), gpus=["l4"])
    assert none.best is None
    with pytest.raises(FitcalcError, match="no choice to compare"):
        compare(none, planned("h100"))
