"""Settings that a plan is given are kept by every choice, or refused in one sentence."""

from __future__ import annotations

import pytest

from fitcalc import EngineArgs, FitcalcError, Prediction, Traffic, plan, predict

LOAD = Traffic(qps=3, isl=1500, osl=200)


@pytest.mark.parametrize(
    "given",
    [
        {"tensor_parallel_size": 4},
        {"tensor_parallel_size": 1, "pipeline_parallel_size": 2},
        {"max_num_seqs": 48},
        {"max_num_batched_tokens": 512},
        {"max_num_seqs": 96, "max_num_batched_tokens": 3000},
        {"max_num_active_seqs": 100},
        {"cpu_offload_gb": 2.0},
        {"scheduling_policy": "priority"},
    ],
)
def test_every_choice_keeps_what_was_given(given: dict[str, object]) -> None:
    found = plan("8b", LOAD, gpus=["h100", "l40s"], engine=EngineArgs(**given))
    assert found.best is not None
    for choice in (found.best, *found.alternatives):
        assert {name: getattr(choice.engine, name) for name in given} == given


def test_formats_may_stand_among_the_settings() -> None:
    for engine, formats in (
        (EngineArgs(quantization="fp8"), {"fp8"}),
        (EngineArgs(dtype="float16", quantization="auto"), {"fp16", "fp8"}),
    ):
        found = plan("8b", LOAD, gpus=["h100"], engine=engine)
        assert found.best is not None
        shown = {choice.engine.weight_format for choice in (found.best, *found.alternatives)}
        assert shown == formats


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("servers", {"data_parallel_size": 2}),
        ("experts", {"enable_expert_parallel": True}),
        ("dtype", {"dtype": "float32"}),
        ("quantization", {"quantization": "awq"}),
        ("events", {"prefill_schedule_interval": 4}),
    ],
)
def test_what_no_plan_keeps_is_refused(words: str, given: dict[str, object]) -> None:
    with pytest.raises(FitcalcError, match=words):
        plan("8b", LOAD, quantization=["fp8"], engine=EngineArgs(**given))


def test_answers_of_one_token_have_no_gaps() -> None:
    one = Traffic(qps=3, isl=1500, osl=1)
    said = predict("8b", "h100", None, one, method="closed_form")
    seen = predict("8b", "h100", None, one, method="simulation")
    assert isinstance(said, Prediction)
    assert isinstance(seen, Prediction)
    assert said.itl_ms == seen.itl_ms
    assert said.itl_ms.p99 == said.tpot_ms.p99 == 0.0
    assert said.e2e_ms.mean == pytest.approx(seen.e2e_ms.mean, rel=0.05)
    assert plan("8b", one, gpus=["h100"])
