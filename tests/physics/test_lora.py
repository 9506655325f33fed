"""LoRA slots against published sizes of adapters, and their laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.answers import MemoryLedger
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.model import load_model
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.lora import lora_stage_bytes
from fitcalc.physics.memory import memory_ledger


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
