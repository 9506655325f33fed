"""Questions about memory against start-up logs, by hand, and by their laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.answers import Limit, MemoryLedger, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.planning.fit_answers import answers
from fitcalc.planning.fit_lists import formats_that_fit, gpus_that_fit, largest_models, least_gpus
from fitcalc.planning.fits import Room, ask, concurrency_at, fit, longest_context
from fitcalc.planning.knobs import largest_utilization, what_frees
from fitcalc.units import GIB

MODELS = st.sampled_from(["llama-3.1-8b", "qwen3-32b", "gpt-oss-20b", "gemma-3-27b-it",
                          "qwen3-next-80b-a3b-instruct"])  # fmt: skip
GPUS = st.sampled_from(["h100", "h200", "a100", "mi300x"])
OLD = EngineArgs(gpu_memory_utilization=0.9, version="0.11.2")


def room(answer: Room | Rejection) -> Room:
    assert isinstance(answer, Room), answer
    return answer


def ledger(answer: MemoryLedger | Rejection) -> MemoryLedger:
    assert isinstance(answer, MemoryLedger), answer
    return answer


def test_longest_context_of_one_request_starts_where_a_log_says() -> None:
    """Qwen3-32B on an H100, 0.11: starts with 16,000 tokens, fails with 32,000 (llm-d-planner)."""
    found = room(longest_context(ask("qwen3-32b", "h100", OLD), 1))
    assert 16_000 <= found.context < 32_000
    assert fit("qwen3-32b", "h100", OLD.replace(max_model_len=found.context))
    assert not fit("qwen3-32b", "h100", OLD.replace(max_model_len=found.context + 64))


def test_concurrency_at_a_context_is_what_vllm_logs() -> None:
    """Llama-3.3-70B, TP4 on H200, 0.20.0, 131,072 tokens: 9.07x (vllm-memory-estimator)."""
    engine = EngineArgs(tensor_parallel_size=4, gpu_memory_utilization=0.92, version="0.20.0")
    found = room(concurrency_at(ask("llama-3.3-70b-instruct", "h200", engine), 131_072))
    assert found.concurrency == pytest.approx(9.07, rel=0.03)
    assert found.limited_by == "kv_cache"


@given(name=MODELS, gpu=GPUS, many=st.integers(1, 512))
def test_the_longest_context_is_the_longest(name: str, gpu: str, many: int) -> None:
    question = ask(name, gpu, EngineArgs(tensor_parallel_size=2))
    found = longest_context(question, many)
    if isinstance(found, Rejection) or not found.context:
        return
    assert found.concurrency >= many
    again = concurrency_at(question.having(max_model_len=found.context), found.context)
    assert again == found
    longer = found.context + 1
    if longer <= question.model.max_position_embeddings:
        more = concurrency_at(question.having(max_model_len=longer), longer)
        assert isinstance(more, Rejection) or more.concurrency < many


@given(name=MODELS, gpu=GPUS, context=st.sampled_from([512, 2048, 8192, 32_768]))
def test_longer_requests_are_fewer(name: str, gpu: str, context: int) -> None:
    question = ask(name, gpu, EngineArgs(max_model_len=40_960, tensor_parallel_size=2))
    longer = concurrency_at(question, context + 1024)
    if isinstance(longer, Room):
        assert room(concurrency_at(question, context)).concurrency >= longer.concurrency


def test_slots_bind_short_requests() -> None:
    found = room(concurrency_at(ask("qwen3-0.6b", "h100", EngineArgs(max_num_seqs=4)), 64))
    assert (found.concurrency, found.limited_by) == (4.0, "max_num_seqs")
    assert (
        room(longest_context(ask("qwen3-0.6b", "h100", EngineArgs(max_num_seqs=4)), 5)).context == 0
    )


LEAST = (("llama-3.1-8b", "h100", 1), ("llama-3.1-70b", "h100", 2), ("llama-3.1-70b", "h200", 2),
         ("deepseek-v3", "h200", 8), ("llama-3.1-405b", "h100", 16))  # fmt: skip
"""Fewest GPUs for 8k tokens that people run these on: 70B in 16 bits needs two cards of 80 GB,
DeepSeek-V3 a node of H200, 405B in 16 bits (812 GB) two nodes of H100 (the models' cards)."""


@pytest.mark.parametrize(("name", "gpu", "count"), LEAST)
def test_least_gpus(name: str, gpu: str, count: int) -> None:
    found = least_gpus(ask(name, gpu, EngineArgs(max_model_len=8192)))
    assert found is not None
    assert found.gpu_count == count


@given(name=MODELS, many=st.sampled_from([1.0, 8.0, 64.0]))
def test_the_least_is_the_least(name: str, many: float) -> None:
    question = ask(name, "a100-40", EngineArgs(max_model_len=8192))
    found = least_gpus(question, concurrency=many)
    if found is None:
        return
    assert found.max_concurrency >= many
    if found.gpu_count > 1 and found.pipeline_parallel_size == 1:
        half = question.having(tensor_parallel_size=found.tensor_parallel_size // 2).ledger()
        assert isinstance(half, Rejection) or half.max_concurrency < many


def test_gpus_are_listed_by_memory_and_models_by_size() -> None:
    gpus = gpus_that_fit("llama-3.1-8b", EngineArgs(max_model_len=8192), gpus=["h200", "t4", "l4"])
    assert [(row.gpu, row.gpu_count) for row in gpus] == [("l4", 1), ("t4", 2), ("h200_sxm", 1)]
    models = largest_models("4090", EngineArgs(), context=4096)
    sizes = [row.total_params for row in models]
    assert sizes == sorted(sizes, reverse=True)
    names = {row.model for row in models}
    assert {"gpt-oss-20b", "llama-3.1-8b-instruct"} <= names
    assert not names & {"llama-3.1-70b-instruct", "qwen3-32b"}


def test_formats_from_most_bits_to_fewest() -> None:
    rows = formats_that_fit(ask("qwen3-32b", "h100", EngineArgs()))
    assert [row.bits for row in rows] == sorted((row.bits for row in rows), reverse=True)
    by_name = {row.quantization: row for row in rows}
    assert (by_name["bf16"].fits, by_name["fp8"].fits) == ("no", "yes")
    assert by_name["bf16"].own_checkpoint
    assert "mxfp4" not in by_name
    held = [row.weights_bytes for row in rows if row.weights_bytes is not None]
    assert max(held) < 40 * GIB


def test_what_each_setting_frees() -> None:
    question = ask("llama-3.1-8b", "h100", EngineArgs(max_model_len=8192))
    before = ledger(question.ledger())
    knobs = {knob.setting: knob for knob in what_frees(question)}
    for knob in knobs.values():
        assert knob.kv_cache_bytes_change is not None
        assert knob.kv_cache_bytes_change >= 0
        assert knob.max_concurrency_change is not None
        assert knob.max_concurrency_change >= 0
    assert knobs["kv_cache_dtype"].kv_cache_bytes_change == 0
    assert knobs["kv_cache_dtype"].max_concurrency == pytest.approx(
        2 * before.max_concurrency, rel=1e-3
    )
    assert knobs["cpu_offload_gb"].kv_cache_bytes_change == pytest.approx(8 * GIB)
    assert knobs["enforce_eager"].kv_cache_bytes_change == pytest.approx(before.cuda_graph_bytes)


def test_a_shared_card_has_less_to_ask_for() -> None:
    """vLLM starts where free >= total x utilization (vllm/v1/worker/utils.py)."""
    small = EngineArgs(max_model_len=8192, gpu_memory_utilization=0.8)
    alone = ledger(fit("llama-3.1-8b", "h100", small))
    shared = ledger(fit("llama-3.1-8b", "h100", small, reserved_bytes=4 * GIB))
    assert shared.kv_cache_bytes == alone.kv_cache_bytes
    assert shared.reserved_bytes == 4 * GIB <= shared.unused_bytes
    refused = fit("llama-3.1-8b", "h100", EngineArgs(max_model_len=8192), reserved_bytes=10 * GIB)
    assert isinstance(refused, Rejection)
    assert refused.limit is Limit.MEMORY
    most = largest_utilization(ask("llama-3.1-8b", "h100", reserved_bytes=10 * GIB))
    assert f"give {most:g} or less" in refused.reason
    least = small.replace(gpu_memory_utilization=most)
    assert fit("llama-3.1-8b", "h100", least, reserved_bytes=10 * GIB)
    over = small.replace(gpu_memory_utilization=most + 0.01)
    assert not fit("llama-3.1-8b", "h100", over, reserved_bytes=10 * GIB)


@pytest.mark.parametrize("reserved", [-1.0, math.nan, math.inf])
def test_nonsense_reserved_is_refused(reserved: float) -> None:
    with pytest.raises(InvalidValue, match="reserved_bytes"):
        fit("llama-3.1-8b", "h100", reserved_bytes=reserved)


def test_notes_name_what_the_ledger_hides() -> None:
    engine = EngineArgs(
        max_model_len=8192, enable_lora=True, max_loras=2, cpu_offload_gb=4, kv_offloading_size=64
    )
    notes = " ".join(ledger(fit("qwen3-vl-30b-a3b-instruct", "h200", engine)).notes)
    assert "vision tower" in notes
    assert "2 LoRA adapters of rank 16" in notes
    # 4 GiB over PCIe 5 x16, 63 GB/s one way: 4 x 1.0737 / 63 = 68 ms.
    assert "at least 68 ms a step" in notes
    # 96 KiB a token (48 layers x 4 heads x 128 x 2 x 2 B): 64 GiB hold 699,050.
    assert "699,051 more tokens" in notes
    assert "1.6 ms of PCIe for 1,000 tokens" in notes


def test_a_slice_is_one_gpu() -> None:
    refused = fit("llama-3.1-8b", "h100:3g.40gb", EngineArgs(tensor_parallel_size=2))
    assert isinstance(refused, Rejection)
    assert refused.limit is Limit.DIVISIBILITY
    held = ledger(fit("llama-3.1-8b", "h100:3g.40gb", EngineArgs(max_model_len=8192)))
    assert held.gpu_memory_bytes / GIB == pytest.approx(39.5)


def test_answers_say_what_was_asked() -> None:
    question = ask("llama-3.1-8b", "h100")
    plain = answers(question)
    assert plain.asked == ()
    assert plain.enough
    found = answers(question, context=8192, concurrency=10)
    assert found.asked == ("at_concurrency", "at_context")
    assert found.enough
    assert ledger(found.memory).max_model_len == 8192
    too_many = answers(question, context=8192, concurrency=1000)
    assert not too_many.enough
    assert too_many.what_frees
