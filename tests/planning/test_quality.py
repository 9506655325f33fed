"""Quality: rows as published, the nearest model's worst suite, floors that filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import EngineArgs, FitcalcError, Traffic, plan
from fitcalc.catalog.formats import (
    kv_format_ids,
    load_kv_format,
    load_weight_format,
    weight_format_ids,
)
from fitcalc.catalog.model import load_model
from fitcalc.catalog.model_names import model_ids, resolve
from fitcalc.catalog.quality import checkpoints, recoveries, recovery
from fitcalc.errors import InvalidValue
from fitcalc.planning.quality import formats_to_try, judged_kv, judged_weights
from fitcalc.units import parse_share

CHAT = Traffic(qps=4, isl=1000, osl=250)


@pytest.mark.parametrize(
    ("part", "name", "model", "share", "benchmark"),
    [  # as the model cards and the blog named in quality.toml say
        ("weights", "fp8", "llama-3.1-8b-instruct", 0.997, "OpenLLM v1"),
        ("weights", "int8", "llama-3.1-70b-instruct", 0.987, "HumanEval"),
        ("weights", "w4a16", "llama-3.1-8b-instruct", 0.93, "Arena-Hard"),
        ("weights", "nvfp4", "llama-3.3-70b-instruct", 0.9558, "HumanEval_64"),
        ("weights", "nvfp4", "deepseek-r1", 1.0, "MMLU-Pro"),
        ("weights", "awq_int4", "qwen2-72b-instruct", 80.4 / 81.3, "MMLU"),
        ("kv", "fp8", "llama-3.3-70b-instruct", 0.97, "MRCR"),
    ],
)
def test_the_published_recovery_is_found(
    part: str, name: str, model: str, share: float, benchmark: str
) -> None:
    llm = load_model(model)
    assert part in ("weights", "kv")
    found = recovery(part, name, model, llm.total_params, moe=llm.is_moe)  # type: ignore[arg-type]
    assert found is not None
    assert found.model == model
    assert found.share == pytest.approx(share, abs=1e-3)
    assert found.benchmark.startswith(benchmark)


def test_every_row_is_cited_of_a_known_format_and_of_its_models_size() -> None:
    assert len(recoveries()) > 50
    for row in recoveries():
        assert row.url.startswith("https://"), row
        assert row.format in {*weight_format_ids(), *kv_format_ids()}
        assert 0.8 < row.share < 1.1
        if row.model in model_ids():
            llm = load_model(row.model)
            assert row.moe == llm.is_moe, row
            assert row.params == pytest.approx(llm.total_params, rel=0.01), row


def test_published_checkpoints_are_of_that_model_and_format() -> None:
    named = [(m, f, name) for m in model_ids() for f, names in checkpoints(m).items()
             for name in names]  # fmt: skip
    assert len(named) > 50
    for model, weight_format, name in named:
        found = resolve(name)
        assert found.id == model
        assert found.quantization is not None
        assert found.quantization.format == weight_format


def test_ones_own_checkpoint_and_16_bits_lose_nothing() -> None:
    gpt, llama = load_model("gpt-oss-120b"), load_model("70b")
    assert judged_weights(gpt, load_weight_format("mxfp4")).recovery == 1.0
    assert judged_weights(llama, load_weight_format("bf16")).recovery == 1.0
    assert judged_kv(llama, load_kv_format("bf16")).recovery == 1.0
    assert judged_weights(llama, load_weight_format("mxfp8")).recovery is None


def test_a_choice_says_what_its_formats_cost_and_who_ships_them() -> None:
    best = plan("70b", CHAT, quantization=["fp8"]).best
    assert best is not None
    assert best.quality.weights.recovery == pytest.approx(0.997)
    assert best.quality.checkpoints[0] == "RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8-dynamic"
    assert any("99.7 %" in note and "Red Hat AI" in note for note in best.notes)
    four = plan("llama-3.3-70b-instruct", CHAT, quantization=["nvfp4"], gpus=["b200"]).best
    assert four is not None
    assert four.vllm_command.startswith("vllm serve nvidia/Llama-3.3-70B-Instruct-FP4")


def test_a_floor_filters_weights_and_kv_cache_apart() -> None:
    found = plan("70b", CHAT, min_quality=0.99)
    assert set(found.question.weight_formats) == {"bf16", "fp16", "fp8"}
    for choice in (found.best, *found.alternatives):
        assert choice is not None
        assert choice.engine.kv_cache_dtype != "fp8"
    assert "nvfp4" in plan("70b", CHAT, min_quality=0.95).question.weight_formats


@pytest.mark.parametrize(
    ("engine", "formats"), [(EngineArgs(), ["nvfp4"]), (EngineArgs(kv_cache_dtype="fp8"), None)]
)
def test_a_floor_that_nothing_keeps_is_refused(
    engine: EngineArgs, formats: list[str] | None
) -> None:
    with pytest.raises(InvalidValue, match="min_quality"):
        plan("70b", CHAT, engine=engine, quantization=formats, min_quality=0.99)


@given(st.floats(0.5, 1.0), st.floats(0.5, 1.0), st.sampled_from(["8b", "70b", "qwen3-30b-a3b"]))
def test_a_lower_floor_never_leaves_fewer_formats(one: float, other: float, name: str) -> None:
    llm = load_model(name)
    low, high = (
        {f.id for f in formats_to_try(llm, EngineArgs(), None, floor)[0]}
        for floor in sorted((one, other))
    )
    assert high <= low


@pytest.mark.parametrize("text", ["", "99", "-1%", "nan", "101%", "much"])
def test_shares_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(FitcalcError, match="share"):
        parse_share(text, "min_quality")
