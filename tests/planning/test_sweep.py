"""Sweeps: each row is the question asked alone, wherever it runs and however often it was cut."""

from __future__ import annotations

import json
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import (
    EngineArgs,
    FitcalcError,
    Prediction,
    Slo,
    Sweep,
    SweepRow,
    Traffic,
    fit,
    plan,
    predict,
    simulate,
    sweep,
)
from fitcalc.inputs.scenario import scenario_of
from fitcalc.planning.fields import FIELDS, Ask, field_named, idle
from fitcalc.planning.swept import Task, run_task

BASE: dict[str, object] = {"model": "llama-3.1-8b", "traffic": {"qps": 2, "isl": 1000, "osl": 100}}
OVER: dict[str, list[object]] = {"gpu": ["h100", "l4"], "traffic.qps": [1, 4, 900]}
MEMORY: dict[str, list[object]] = {
    "gpu": ["h100", "l40s", "4090"],
    "kv_cache_dtype": ["auto", "fp8"],
    "tp": [1, 2],
}


def cheap(out: Path | None = None) -> Sweep:
    """Sweep something that takes milliseconds a scenario."""
    return sweep({"model": "llama-3.1-8b"}, MEMORY, ask="fit", out=out)


# ---- rows are the answers


def test_rows_are_predictions_in_the_order_of_the_grid() -> None:
    found = sweep(BASE, OVER)
    asked = [(gpu, qps) for gpu in ("h100", "l4") for qps in (1, 4, 900)]
    shown = [(row.settings["deployment.gpu"], row.settings["traffic.qps"]) for row in found.rows]
    assert shown == asked
    engine = EngineArgs(max_model_len=1100)
    for row, (gpu, qps) in zip(found.rows, asked, strict=True):
        alone = predict("llama-3.1-8b", gpu, engine, Traffic(qps=qps, isl=1000, osl=100))
        assert (row.answer if row.answer is not None else row.rejection) == alone


def test_every_question_is_the_one_asked_alone() -> None:
    traffic, engine = Traffic(qps=2, isl=1000, osl=100), EngineArgs(max_model_len=1100)
    on = {"gpu": ["h100"]}
    found = sweep(BASE, {**on, "replicas": [2]}, ask="simulate", seed=3)
    alone = simulate("llama-3.1-8b", "h100", engine, traffic, seed=3, replicas=2, slo=Slo())
    assert found.rows[0].answer == alone
    found = sweep(BASE, {"gpu": ["h100+l4"], "headroom": [0.1, 0.5]}, ask="plan")
    for row, headroom in zip(found.rows, (0.1, 0.5), strict=True):
        best = plan("llama-3.1-8b", traffic, gpus=["h100", "l4"], headroom=headroom).best
        assert row.answer == best
        assert best is not None
        assert (row.gpus, row.usd_per_hour) == (best.gpu_count, best.usd_per_hour)
    found = sweep({"model": "llama-3.1-8b"}, {"gpu": ["h100"], "ctx": ["8k"]}, ask="fit")
    assert found.rows[0].answer == fit("llama-3.1-8b", "h100", EngineArgs(max_model_len=8192))


def test_replicas_share_the_traffic_and_the_bill() -> None:
    one, two = sweep(BASE, [{"gpu": "h100"}, {"gpu": "h100", "qps": 4, "replicas": 2}]).rows
    assert one.answer == two.answer
    assert one.usd_per_hour is not None
    assert two.usd_per_hour == pytest.approx(2 * one.usd_per_hour)
    assert two.usd_per_million_output_tokens == pytest.approx(one.usd_per_million_output_tokens)


def test_a_scenario_is_a_base_too() -> None:
    deployed: dict[str, object] = {**BASE, "deployment": {"gpu": "h100"}}
    over: dict[str, list[object]] = {"engine.max_num_seqs": [32, None], "traffic.concurrency": [8]}
    assert sweep(scenario_of(deployed), over).rows == sweep(deployed, over).rows


def test_one_mistake_ends_no_sweep() -> None:
    over = {"gpu": ["h100", "h1000"], "max_num_seqs": ["64", "many"]}
    good, *others = sweep(BASE, over).rows
    assert isinstance(good.answer, Prediction)
    assert [row.answer for row in others] == [None] * 3
    assert "max_num_seqs = 'many'" in (others[0].error or "")
    assert "no gpu 'h1000'" in (others[1].error or "")


def test_a_fault_in_one_scenario_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("fitcalc.planning.swept._answered", fail)
    (row,) = sweep(BASE, {"gpu": ["h100"]}).rows
    assert row.error == "fitcalc failed (ZeroDivisionError: by hand): this is a mistake of fitcalc."


@given(name=st.sampled_from(FIELDS), ask=st.sampled_from(Ask))
def test_every_field_has_its_full_name_or_a_reason(name: tuple[str, ...], ask: Ask) -> None:
    reason = idle(name, ask)
    if not reason:
        assert field_named(".".join(name), ask) == name
        return
    with pytest.raises(FitcalcError) as caught:
        field_named(".".join(name), ask)
    assert reason in str(caught.value)


# ---- the same wherever it runs


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_any_executor_gives_the_same_rows_and_file(kind: str, tmp_path: Path) -> None:
    here = sweep(BASE, OVER, out=tmp_path / "here.jsonl")
    executor: Executor = ThreadPoolExecutor(3)
    if kind == "processes":
        executor = ProcessPoolExecutor(2, get_context("spawn"))
    with executor:
        there = sweep(BASE, OVER, out=tmp_path / "there.jsonl", executor=executor)
    assert there == here
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()


def test_a_worker_with_other_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitcalc.planning.swept.tables_version", lambda: "older")
    with pytest.raises(FitcalcError, match="a worker has the tables older"):
        cheap()


def test_a_worker_that_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fitcalc.planning.sweep.run_task", die)
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(FitcalcError, match="a worker of the sweep failed"),
    ):
        sweep(BASE, OVER, executor=executor)


# ---- stopped and resumed


def test_a_file_holds_a_row_a_line(tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    found = cheap(out)
    lines = out.read_text(encoding="utf-8").splitlines()
    assert [SweepRow.model_validate_json(line) for line in lines] == list(found.rows)


@given(data=st.data())
def test_a_file_cut_anywhere_is_gone_on_with(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "sweep.jsonl"
        whole = cheap(out)
        written = out.read_bytes()
        kept = written[: data.draw(st.integers(0, len(written)), label="bytes")]
        out.write_bytes(kept)
        asked: list[int] = []
        again = sweep(
            {"model": "llama-3.1-8b"}, MEMORY, ask="fit", out=out,
            progress=lambda done, _: asked.append(done),
        )  # fmt: skip
        assert again == whole
        assert out.read_bytes() == written
        assert asked == list(range(kept.count(b"\n"), len(whole.rows) + 1))


def test_an_interrupt_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sweep.jsonl"
    calls: list[Task] = []

    def stop(task: Task) -> SweepRow:
        calls.append(task)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return run_task(task)

    monkeypatch.setattr("fitcalc.planning.sweep.run_task", stop)
    with pytest.raises(KeyboardInterrupt):
        cheap(out)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 5


def test_a_larger_grid_reuses_a_smaller_one(tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    base = {"model": "llama-3.1-8b"}
    sweep(base, {"gpu": ["h100"]}, ask="fit", out=out)
    first: list[int] = []
    sweep(
        base, {"gpu": ["l40s", "h100"]}, ask="fit", out=out,
        progress=lambda done, _: first.append(done),
    )  # fmt: skip
    assert first == [1, 2]
    lines = out.read_text(encoding="utf-8").splitlines()
    gpus = [json.loads(line)["settings"]["deployment.gpu"] for line in lines]
    assert gpus == ["l40s", "h100"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("gpu,qps\nh100,5\n", "not a file of a sweep"),
        ("not ours", "not a file of a sweep"),
        ('{"key": 5}\n', "not a file of a sweep"),
        ("[1]\n", "not a file of a sweep"),
        ('{"key":"a","tables":"b"}\n', "other tables"),
    ],
)
def test_a_file_of_something_else_is_left_alone(content: str, said: str, tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    out.write_text(content, encoding="utf-8")
    with pytest.raises(FitcalcError, match=said):
        cheap(out)
    assert out.read_text(encoding="utf-8") == content


def test_a_file_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    sweep(BASE, {"gpu": ["h100"]}, out=out)
    before = out.read_bytes()
    with pytest.raises(FitcalcError, match="rows of another sweep"):
        cheap(out)
    assert out.read_bytes() == before


# ---- ranking


def test_the_best_is_the_cheapest_that_keeps_the_promise() -> None:
    promised = {**BASE, "slo": {"ttft_ms": 200, "itl_ms": 50}}
    found = sweep(promised, {"gpu": ["h100", "l4", "l40s"], "qps": [1, 8]})
    ranked = found.ranked()
    kept = [row for row in ranked if row.kept]
    prices = [row.usd_per_million_output_tokens for row in kept if row.answer is not None]
    assert kept == list(ranked[: len(kept)])
    assert 0 < len(kept) < len(ranked)
    assert prices == sorted(price or 0.0 for price in prices)
    waits = [row.felt.e2e_ms.mean for row in found.ranked("latency") if row.kept and row.felt]
    assert waits == sorted(waits)
