"""A rank's weights against what vLLM printed at start, and the laws of splitting."""

import csv
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fitcalc.catalog.formats import load_weight_format, weight_format_ids
from fitcalc.catalog.model import TensorKind, load_model, model_ids
from fitcalc.physics.splits import divisibility, gemms
from fitcalc.physics.weights import ANY_CARD, Card, rank_weight_bytes, stage_layers
from fitcalc.units import GIB

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[3] / "shared"))
HOPPER, BLACKWELL, AMD = Card(9.0), Card(10.0), Card(rocm=True)

# "Model loading took N GiB" of vLLM, as its users' logs have it; the error a row may have [%]
LOGS = [
    ("meta-llama/Llama-3.3-70B-Instruct", 4, 32.8894, ANY_CARD, 0.2),
    ("meta-llama/Meta-Llama-3-8B", 1, 14.9595, ANY_CARD, 0.1),
    ("Qwen/Qwen3-32B", 1, 61.03, ANY_CARD, 0.1),
    ("Qwen/Qwen3-32B", 2, 30.59, ANY_CARD, 0.3),
    ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", 4, 3.85, ANY_CARD, 1.0),
    ("deepseek-ai/DeepSeek-R1-0528", 8, 79.5828, HOPPER, 0.1),
    ("deepseek-ai/DeepSeek-V3.2", 8, 80.62, HOPPER, 0.6),
    ("zai-org/GLM-5.1-FP8", 8, 89.34, HOPPER, 0.6),
    ("moonshotai/Kimi-K2.5", 8, 72.02, HOPPER, 0.4),
    ("RedHatAI/Qwen3-235B-A22B-FP8-dynamic", 4, 55.2032, HOPPER, 0.3),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", 2, 74.2812, HOPPER, 0.1),
    ("RedHatAI/Qwen3-Coder-Next-FP8-dynamic", 1, 76.27, HOPPER, 0.1),
    ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 8, 93.7864, HOPPER, 0.3),
    ("RedHatAI/Llama-4-Maverick-17B-128E-Instruct-FP8", 8, 48.8685, HOPPER, 0.4),
    ("sarvamai/sarvam-105b", 2, 99.03, HOPPER, 0.3),
    ("openai/gpt-oss-120b", 1, 64.38, HOPPER, 0.4),
    ("openai/gpt-oss-120b", 1, 65.9651, BLACKWELL, 0.2),  # Marlin pads as TRT-LLM does
    ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8", 1, 30.5211, HOPPER, 0.2),
    ("Qwen/Qwen2.5-VL-72B-Instruct", 4, 34.43, ANY_CARD, 0.8),
    ("zai-org/GLM-4.7-NVFP4", 4, 47.11, BLACKWELL, 0.3),
    # ROCm itself holds 0.6 to 0.9 GiB more at this point of the start
    ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 1, 68.3613, AMD, 1.0),
    ("Qwen/Qwen3-235B-A22B-Instruct-2507", 4, 112.6113, AMD, 0.8),
    ("Qwen/Qwen3-235B-A22B-Instruct-2507", 8, 56.6465, AMD, 1.2),
]


@pytest.mark.parametrize(("name", "tp", "seen", "card", "percent"), LOGS)
def test_weights_of_a_rank_as_vllm_printed_them(
    name: str, tp: int, seen: float, card: Card, percent: float
) -> None:
    counted = rank_weight_bytes(load_model(name), tp=tp, gpu=card).bytes / GIB
    assert counted == pytest.approx(seen, rel=percent / 100)


def test_start_up_logs_at_hand() -> None:
    path = SHARED / "memory" / "startup.csv"
    if not path.is_file():
        pytest.skip(f"no start-up logs at {path}; set FITCALC_SHARED to their folder")
    errors = []
    known = {name for name, *_ in LOGS}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        if row["confidence"] == "A" and row["weights_gib"] and row["model_hf_id"] in known:
            card = AMD if "MI3" in row["gpu"] else HOPPER
            if "Marlin" in row["quantization"]:
                card = BLACKWELL
            model, tp = load_model(row["model_hf_id"]), int(float(row["tp"]))
            said = rank_weight_bytes(model, tp=tp, gpu=card).bytes / GIB
            errors.append(abs(said / float(row["weights_gib"]) - 1))
    errors.sort()
    assert len(errors) >= 30
    assert errors[len(errors) // 2] < 0.004
    assert errors[-1] < 0.03


def test_llama_70b_in_bf16_is_its_checkpoint() -> None:
    # 141,107,412,992 B: metadata.total_size of the published safetensors index
    assert rank_weight_bytes(load_model("llama-3.1-70b")).bytes == 141_107_412_992


def test_a_tied_embedding_counts_once_and_twice_over_stages() -> None:
    model = load_model("qwen3-0.6b")
    table = 2.0 * model.vocab_size * model.hidden_size
    one = rank_weight_bytes(model)
    two = rank_weight_bytes(model, pp=2)
    assert one.bytes == 2 * 596_049_920
    assert sum(two.stages) == one.bytes + table


def test_key_value_heads_are_repeated_beyond_their_number() -> None:
    model = load_model("llama-3.1-70b")
    eight = {g.label: g for g in gemms(model, tp=8).layers[0]}
    sixteen = {g.label: g for g in gemms(model, tp=16).layers[0]}
    assert eight["qkv_proj"].n == (64 + 2 * 8) * 128 / 8
    assert sixteen["qkv_proj"].n == (64 / 16 + 2) * 128


def test_experts_split_over_tp_and_dp_and_attention_does_not() -> None:
    model = load_model("deepseek-v3")
    one = rank_weight_bytes(model, tp=8)
    four = rank_weight_bytes(model, tp=8, dp=4)
    assert four.by_kind[TensorKind.LINEAR] == one.by_kind[TensorKind.LINEAR]
    assert four.by_kind[TensorKind.EXPERT] == pytest.approx(one.by_kind[TensorKind.EXPERT] / 4)
    whole = rank_weight_bytes(model, tp=8, dp=4, enable_expert_parallel=True)
    assert whole.by_kind[TensorKind.EXPERT] == pytest.approx(four.by_kind[TensorKind.EXPERT])


def test_an_uneven_number_of_experts_leaves_one_more_on_a_rank() -> None:
    layer = gemms(load_model("qwen3-30b-a3b"), tp=8, dp=3, enable_expert_parallel=True).layers[0]
    assert {g.count for g in layer if g.kind is TensorKind.EXPERT} == {math.ceil(128 / 24)}


def test_bits_beyond_the_weights_are_counted() -> None:
    model = load_model("llama-3.1-8b")
    linear = model.parameters(TensorKind.LINEAR)
    rows = sum(t.rows for t in model.layers[0].tensors if t.kind is TensorKind.LINEAR) * 32
    tail = 2 * (model.total_params - linear)
    fp8 = rank_weight_bytes(model, load_weight_format("fp8")).bytes
    assert fp8 == linear + 4 * rows + tail
    awq = rank_weight_bytes(model, load_weight_format("awq_int4")).bytes
    assert awq == pytest.approx(linear * (0.5 + 2.5 / 128) + tail, rel=1e-12)


def test_divisibility_as_vllm_refuses() -> None:
    assert divisibility(load_model("llama-3.1-70b"), tp=8) is None
    assert divisibility(load_model("deepseek-v3"), tp=8, dp=2, enable_expert_parallel=True) is None
    # Qwen3-235B-A22B-FP8 at TP 8: 1536 / 8 = 192 is no multiple of 128, as vLLM says at start
    refused = divisibility(load_model("Qwen/Qwen3-235B-A22B-FP8"), tp=8)
    assert refused is not None
    assert "192" in refused.reason
    assert divisibility(load_model("Qwen/Qwen3-235B-A22B-FP8"), tp=4) is None
    for tp in (3, 5, 128):
        assert divisibility(load_model("llama-3.1-70b"), tp=tp) is not None
    assert divisibility(load_model("llama-3.1-8b"), pp=33) is not None


@pytest.mark.parametrize(
    ("layers", "pp", "sizes"), [(80, 8, (10,) * 8), (61, 2, (31, 30)), (61, 4, (15, 15, 16, 15))]
)
def test_stages_as_vllm_cuts_them(layers: int, pp: int, sizes: tuple[int, ...]) -> None:
    assert stage_layers(layers, pp) == sizes


def test_a_split_is_counted_in_well_under_a_millisecond() -> None:
    model = load_model("deepseek-v3")
    rank_weight_bytes(model, tp=2)
    start = time.process_time()
    for tp in (1, 4, 8, 16, 32):
        rank_weight_bytes(model, tp=tp)
    assert time.process_time() - start < 5 * 0.002


MODELS = st.sampled_from(model_ids())
RANKS = st.sampled_from([1, 2, 4, 8])


@given(MODELS, RANKS, RANKS, st.booleans())
def test_more_ranks_never_hold_more(name: str, tp: int, dp: int, whole: bool) -> None:  # noqa: FBT001
    model = load_model(name)
    assume(divisibility(model, tp=2 * tp, dp=dp, enable_expert_parallel=whole) is None)
    here = rank_weight_bytes(model, tp=tp, dp=dp, enable_expert_parallel=whole)
    wider = rank_weight_bytes(model, tp=2 * tp, dp=dp, enable_expert_parallel=whole)
    assert wider.bytes <= here.bytes
    assert wider.bytes >= here.bytes / 2.001
    assert sum(here.by_kind.values()) == pytest.approx(here.bytes)


@given(MODELS, st.sampled_from(weight_format_ids()), RANKS, st.integers(1, 4))
def test_no_format_is_larger_than_16_bits(name: str, weights: str, tp: int, pp: int) -> None:
    model, wide = load_model(name), load_weight_format("bf16")
    pp = min(pp, model.num_hidden_layers)
    quantized = rank_weight_bytes(model, load_weight_format(weights), tp=tp, pp=pp)
    assert quantized.bytes <= rank_weight_bytes(model, wide, tp=tp, pp=pp).bytes
    assert len(quantized.stages) == pp
    assert max(quantized.stages) == quantized.bytes


@given(MODELS, RANKS, st.booleans())
def test_matrix_products_hold_the_linear_weights(name: str, tp: int, whole: bool) -> None:  # noqa: FBT001
    model = load_model(name)
    if divisibility(model, tp=tp, enable_expert_parallel=whole) is not None:
        return
    products = gemms(model, load_weight_format("bf16"), tp=tp, enable_expert_parallel=whole)
    held = rank_weight_bytes(
        model, load_weight_format("bf16"), tp=tp, enable_expert_parallel=whole
    ).by_kind
    for kind in (TensorKind.LINEAR, TensorKind.EXPERT):
        weights = sum(
            count * sum(g.n * g.k * g.count for g in layer if g.kind is kind)
            for layer, count in zip(products.layers, model.layer_counts, strict=True)
        )
        assert 2 * weights == pytest.approx(held.get(kind, 0.0), rel=1e-3)
