"""LoRA slots against published sizes of adapters, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.answers import MemoryLedger
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.formats import load_kv_format, load_weight_format
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.model import load_model
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.build import step_model
from fitcalc.physics.lora import adapter_gemms, lora_stage_bytes
from fitcalc.physics.memory import memory_ledger
from fitcalc.physics.splits import gemms
from fitcalc.physics.step import StepModel
from fitcalc.physics.weights import Parallel


def settings(**given: object) -> ResolvedEngine:
    args = EngineArgs(enable_lora=True, max_model_len=4096, **given)
    return resolve(
        args, load_gpu("h100"), longest=4096, weight_format="bf16", kv_cache_dtype="bf16"
    )


ADAPTERS = (("llama-3.1-8b", 16, 41_943_040), ("llama-3.1-70b", 16, 207_093_760))
"""Weights of an adapter on all linear layers of a decoder, as PEFT prints "trainable params"."""


@pytest.mark.parametrize(("name", "rank", "weights"), ADAPTERS)
def test_a_slot_holds_a_whole_adapter(name: str, rank: int, weights: int) -> None:
    """Beside the decoder, embedding and head have slots in vLLM: r (hidden + vocabulary) each."""
    model = load_model(name)
    (size,) = lora_stage_bytes(model, settings(max_lora_rank=rank))
    ends = 2 * rank * (model.hidden_size + model.vocab_size)
    assert size == 2 * (weights + ends)


NAMES = st.sampled_from(["llama-3.1-8b", "qwen3-32b", "qwen3-30b-a3b", "deepseek-v3"])


@given(name=NAMES, tp=st.sampled_from([1, 2, 4, 8]), pp=st.integers(1, 4), n=st.integers(1, 8))
def test_slots_grow_with_adapters_and_shrink_with_ranks(
    name: str, tp: int, pp: int, n: int
) -> None:
    model = load_model(name)
    one = lora_stage_bytes(model, settings(tensor_parallel_size=tp, pipeline_parallel_size=pp))
    many = lora_stage_bytes(
        model, settings(tensor_parallel_size=tp, pipeline_parallel_size=pp, max_loras=n)
    )
    assert many == pytest.approx([n * size for size in one])
    whole = sum(lora_stage_bytes(model, settings()))
    assert whole / tp <= sum(one) <= whole * (1 + 1e-9)


def test_no_lora_no_slots() -> None:
    engine = settings().replace(enable_lora=False, pipeline_parallel_size=2)
    assert lora_stage_bytes(load_model("llama-3.1-8b"), engine) == (0.0, 0.0)


def test_slots_are_taken_off_the_kv_cache() -> None:
    model, gpu = load_model("llama-3.1-8b"), load_gpu("h100")
    engine = settings(max_loras=4, max_lora_rank=64, enforce_eager=True)
    adapted = memory_ledger(model, gpu, engine)
    plain = memory_ledger(model, gpu, engine.replace(enable_lora=False))
    assert isinstance(adapted, MemoryLedger)
    assert isinstance(plain, MemoryLedger)
    assert plain.kv_cache_bytes - adapted.kv_cache_bytes == pytest.approx(adapted.lora_bytes)
    assert adapted.weights_bytes - plain.weights_bytes == pytest.approx(adapted.lora_bytes)


@pytest.mark.parametrize(("name", "rank", "weights"), ADAPTERS)
def test_a_token_meets_each_weight_of_its_adapter_once(name: str, rank: int, weights: int) -> None:
    law = load_efficiency(load_gpu("h100")).gemm["bf16"].law
    model = load_model(name)
    for slots in (1, 4):
        engine = settings(max_lora_rank=rank, max_loras=slots)
        term = adapter_gemms(model, gemms(model), engine, law)
        assert np.sum(term.number * term.n * term.k) == weights
        read = np.sum(term.number * term.weight_bytes * term.n * term.k)
        assert read == 2 * slots * weights


def _step(name: str, tp: int = 1, *, stacked: bool = False, **given: int) -> StepModel:
    engine = settings(tensor_parallel_size=tp).replace(**given)
    formats = load_weight_format("fp8"), load_kv_format("bf16")
    cards, split = [load_gpu("h100")], Parallel(tp)
    return step_model(load_model(name), cards, *formats, split, engine=engine, stacked=stacked)


@given(
    name=NAMES,
    tp=st.sampled_from([1, 2, 4]),
    slots=st.integers(1, 32),
    rank=st.sampled_from([8, 16, 64]),
    batch=st.integers(1, 1024),
)
def test_adapters_take_time_and_more_of_them_no_less(
    name: str, tp: int, slots: int, rank: int, batch: int
) -> None:
    def seconds(slots: int, rank: int, *, enable_lora: bool = True) -> float:
        step = _step(name, tp, enable_lora=enable_lora, max_loras=slots, max_lora_rank=rank)
        return float(step.step_s(float(batch), 500.0 * batch))

    plain = seconds(1, 16, enable_lora=False)
    some = seconds(slots, rank)
    assert plain < some <= seconds(slots + 1, rank)
    assert some <= seconds(slots, 128)


def test_a_stack_says_the_same() -> None:
    one = _step("llama-3.1-8b", max_loras=4).step_s(64.0, 32_000.0)
    row = _step("llama-3.1-8b", max_loras=4, stacked=True).step_s(
        np.array([[64.0]]), np.array([[32_000.0]])
    )
    assert float(row[0, 0]) == pytest.approx(float(one))
