"""Models: parameters against published totals, names, and configs that make no sense."""

import csv
import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.model import (
    LayerKind,
    LlmModel,
    TensorKind,
    from_config,
    load_model,
    model_ids,
    search_models,
)
from fitcalc.catalog.model_names import aliases
from fitcalc.errors import FitcalcError, InvalidValue, UnknownName

TRUTH = Path(__file__).parents[1] / "truth" / "parameters.csv"
ROWS = list(csv.DictReader(TRUTH.read_text(encoding="utf-8").splitlines()))
TINY: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
}


@pytest.mark.parametrize("row", ROWS, ids=[row["model"] for row in ROWS])
def test_published_total_is_met_to_the_last_parameter(row: dict[str, str]) -> None:
    model = load_model(row["model"])
    counted = model.total_params - model.parameters(TensorKind.VISION)
    counted += sum(
        model.parameters(TensorKind(kind)) for kind in row["includes"].split("+") if kind
    )
    assert counted + int(row["beyond_count"]) == int(row["parameters"])


@pytest.mark.parametrize("name", model_ids())
def test_every_table_loads_quickly_and_whole(name: str) -> None:
    start = time.process_time()
    model = load_model(name)
    assert time.process_time() - start < 0.2
    assert model.id == name
    assert len(model.pattern) == model.num_hidden_layers
    assert set(model.pattern) == set(range(len(model.layers)))
    assert 0 < model.active_params <= model.total_params
    assert model.source


def test_every_alias_names_a_table() -> None:
    assert set(aliases().values()) <= set(model_ids())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("70b", "llama-3.1-70b-instruct"),
        ("405B", "llama-3.1-405b-instruct"),
        ("Llama 3.1 70B", "llama-3.1-70b-instruct"),
        ("meta-llama/meta_llama_3.1_70b_instruct", "llama-3.1-70b-instruct"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
        ("moonshotai/Kimi-K2.5", "kimi-k2.5"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("google/gemma-3-27b-it", "gemma-3-27b-it"),
        ("codellama/CodeLlama-34b-Instruct-hf", "codellama-34b-instruct"),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", "mixtral-8x22b-instruct-v0.1"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", "qwen3-vl-30b-a3b-instruct"),
    ],
)
def test_names_people_write(name: str, model: str) -> None:
    assert load_model(name).id == model


@pytest.mark.parametrize(
    ("name", "model", "weights"),
    [
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "llama-3.3-70b-instruct", "fp8"),
        ("nvidia/Llama-3.3-70B-Instruct-FP8", "llama-3.3-70b-instruct", "fp8"),
        ("nvidia/Llama-3.3-70B-Instruct-NVFP4", "llama-3.3-70b-instruct", "nvfp4"),
        ("Qwen/Qwen3-32B-FP8", "qwen3-32b", "fp8_block"),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "qwen2.5-32b-instruct", "awq_int4"),
        ("Qwen/Qwen2.5-32B-Instruct-GPTQ-Int4", "qwen2.5-32b-instruct", "gptq_int4"),
        (
            "RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w4a16",
            "llama-3.1-70b-instruct",
            "w4a16",
        ),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "llama-3.1-8b-instruct", "int8"),
        (
            "RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic",
            "llama-4-scout-17b-16e-instruct",
            "fp8",
        ),
        ("moonshotai/Kimi-K2.5", "kimi-k2.5", "w4a16"),
        ("openai/gpt-oss-120b", "gpt-oss-120b", "mxfp4"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3", "fp8_block"),
    ],
)
def test_quantized_variants_resolve(name: str, model: str, weights: str) -> None:
    loaded = load_model(name)
    assert loaded.id == model
    assert loaded.quantization is not None
    assert loaded.quantization.format == weights


def test_what_a_checkpoint_left_in_16_bits() -> None:
    kimi = load_model("kimi-k2.5")
    quantized = {t.name for layer in kimi.layers for t in layer.tensors if not t.ignored and t.gemm}
    assert {name.rpartition(".")[0] for name in quantized} == {"mlp.experts.0", "mlp"}
    assert "mlp.gate" in quantized  # a router: of no quantizable kind
    assert not any("self_attn" in name or "shared" in name for name in quantized)


def test_layers_that_differ_only_in_what_is_ignored_are_told_apart() -> None:
    nano = load_model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8")
    assert len(nano.layers) == len(load_model("nemotron-3-nano").layers) + 1


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.3-70B-Instruct-bnb-4bit", "70b-gguf"])
def test_formats_vllm_lost_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(InvalidValue, match="bitsandbytes"):
        load_model(name)


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        load_model("lama-3.1-70b")
    assert "llama-3.1-70b" in str(caught.value)
    with pytest.raises(UnknownName, match=r"config\.json"):
        load_model("zzzzqqqq")


def test_search() -> None:
    assert "qwen3-32b" in search_models("Qwen3")
    assert search_models("no such model") == ()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("gemma-3-27b-it", {LayerKind.SLIDING: 52, LayerKind.FULL: 10}),
        ("gpt-oss-20b", {LayerKind.SLIDING: 12, LayerKind.FULL: 12}),
        ("llama-4-scout", {LayerKind.CHUNKED: 36, LayerKind.FULL: 12}),
        ("deepseek-v3", {LayerKind.MLA: 61}),
        ("qwen3-next", {LayerKind.STATE: 36, LayerKind.FULL: 12}),
        ("nemotron-3-nano", {LayerKind.STATE: 23, LayerKind.FULL: 6, LayerKind.NONE: 23}),
        ("mistral-7b-v0.1", {LayerKind.SLIDING: 32}),
        ("qwen2.5-7b", {LayerKind.FULL: 28}),
    ],
)
def test_layer_kinds(name: str, kinds: dict[LayerKind, int]) -> None:
    model = load_model(name)
    counts = dict.fromkeys(kinds, 0)
    for index in model.pattern:
        counts[model.layers[index].kind] += 1
    assert counts == kinds


def test_a_config_is_read_from_dict_file_and_folder(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(TINY), encoding="utf-8")
    # embedding 1000x64 twice, norm; a layer: q, o 64x64, k, v 32x64, MLP 3x128x64, two norms
    total = 2 * 64_000 + 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 2 * 64)
    for given_as in (TINY, file, str(file), tmp_path, str(tmp_path)):
        assert load_model(given_as).total_params == total


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"architectures": None}, "architectures"),
        ({"architectures": ["NoSuchModel"]}, "architectures"),
        ({"architectures": "LlamaForCausalLM"}, "architectures"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"hidden_size": 64.5}, "hidden_size"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"torch_dtype": 16}, "torch_dtype"),
        ({"layer_types": ["full_attention"], "sliding_window": 8}, "layer_types"),
        ({"text_config": []}, "text_config"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quant_method"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "config_groups"),
        ({"quantization_config": {}}, "quant_method"),
    ],
)
def test_a_config_that_makes_no_sense_names_its_key(change: dict[str, object], key: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_model({**TINY, **change})
    assert key in caught.value.field


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY\x00\xff", b"[1, 2]", b"{", b'"text"', b"[" * 100_000, b" " * (5 << 20)],
    ids=["empty", "binary", "list", "broken", "string", "deep", "large"],
)
def test_a_file_that_is_no_config_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InvalidValue, match="is not valid"):
        load_model(file)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "config.json", "./nowhere/config.json"):
        with pytest.raises(InvalidValue, match="there is no config"):
            load_model(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
KEYS = [*TINY, "layer_types", "sliding_window", "quantization_config", "text_config", "dtype"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=3))
def test_any_config_is_a_model_or_one_sentence(change: dict[str, object]) -> None:
    with suppress(FitcalcError):
        assert load_model({**TINY, **change}).total_params > 0


@given(st.integers(1, 8), st.integers(1, 64), st.integers(1, 4))
def test_parameters_grow_by_one_layer_at_a_time(layers: int, width: int, groups: int) -> None:
    def build(count: int) -> LlmModel:
        config = TINY | {
            "num_hidden_layers": count,
            "num_attention_heads": 4 * groups,
            "num_key_value_heads": groups,
            "hidden_size": 4 * groups * width,
        }
        return from_config(config, "tiny")

    one, more = build(layers), build(layers + 1)
    inside = sum(t.parameters for t in one.layers[0].tensors)
    assert more.total_params - one.total_params == inside
