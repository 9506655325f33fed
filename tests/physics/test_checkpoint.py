"""Weights of a rank from a checkpoint's own tensors, against published totals and the count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.index import CheckpointIndex, StoredTensor, read_index
from fitcalc.catalog.model import LlmModel, TensorKind, load_model
from fitcalc.errors import InvalidValue
from fitcalc.physics.checkpoint import checkpoint_weights
from fitcalc.physics.weights import Card, Parallel, rank_weight_bytes
from fitcalc.units import GIB

BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1, "U8": 1, "I32": 4, "F16": 2}
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]


def checkpoint(tensors: Shapes) -> CheckpointIndex:
    """Return what headers with these tensors would say."""
    stored = tuple(
        StoredTensor(name, dtype, shape, float(math.prod(shape) * BYTES[dtype]))
        for name, (dtype, shape) in tensors.items()
    )
    return CheckpointIndex("made", stored, math.fsum(t.bytes for t in stored), sized=True)


def llama(layers: int, hidden: int, kv: int, inner: int, vocab: int) -> Shapes:
    """Tensors of a Llama checkpoint as Hugging Face names them."""
    out: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("BF16", (vocab, hidden)),
        "lm_head.weight": ("BF16", (vocab, hidden)),
        "model.norm.weight": ("BF16", (hidden,)),
    }
    for i in range(layers):
        p = f"model.layers.{i}"
        out |= {
            f"{p}.self_attn.q_proj.weight": ("BF16", (hidden, hidden)),
            f"{p}.self_attn.k_proj.weight": ("BF16", (kv, hidden)),
            f"{p}.self_attn.v_proj.weight": ("BF16", (kv, hidden)),
            f"{p}.self_attn.o_proj.weight": ("BF16", (hidden, hidden)),
            f"{p}.mlp.gate_proj.weight": ("BF16", (inner, hidden)),
            f"{p}.mlp.up_proj.weight": ("BF16", (inner, hidden)),
            f"{p}.mlp.down_proj.weight": ("BF16", (hidden, inner)),
            f"{p}.input_layernorm.weight": ("BF16", (hidden,)),
            f"{p}.post_attention_layernorm.weight": ("BF16", (hidden,)),
        }
    return out


def gpt_oss_20b() -> Shapes:
    """Tensors of openai/gpt-oss-20b: experts of a layer in one tensor, blocks and scales apart."""
    out: dict[str, tuple[str, tuple[int, ...]]] = {
        "lm_head.weight": ("BF16", (201088, 2880)),
        "model.embed_tokens.weight": ("BF16", (201088, 2880)),
        "model.norm.weight": ("BF16", (2880,)),
    }
    for i in range(24):
        p = f"model.layers.{i}"
        out |= {
            f"{p}.mlp.experts.down_proj_bias": ("BF16", (32, 2880)),
            f"{p}.mlp.experts.down_proj_blocks": ("U8", (32, 2880, 90, 16)),
            f"{p}.mlp.experts.down_proj_scales": ("U8", (32, 2880, 90)),
            f"{p}.mlp.experts.gate_up_proj_bias": ("BF16", (32, 5760)),
            f"{p}.mlp.experts.gate_up_proj_blocks": ("U8", (32, 5760, 90, 16)),
            f"{p}.mlp.experts.gate_up_proj_scales": ("U8", (32, 5760, 90)),
            f"{p}.mlp.router.bias": ("BF16", (32,)),
            f"{p}.mlp.router.weight": ("BF16", (32, 2880)),
            f"{p}.self_attn.q_proj.bias": ("BF16", (4096,)),
            f"{p}.self_attn.q_proj.weight": ("BF16", (4096, 2880)),
            f"{p}.self_attn.k_proj.bias": ("BF16", (512,)),
            f"{p}.self_attn.k_proj.weight": ("BF16", (512, 2880)),
            f"{p}.self_attn.v_proj.bias": ("BF16", (512,)),
            f"{p}.self_attn.v_proj.weight": ("BF16", (512, 2880)),
            f"{p}.self_attn.o_proj.bias": ("BF16", (2880,)),
            f"{p}.self_attn.o_proj.weight": ("BF16", (2880, 4096)),
            f"{p}.self_attn.sinks": ("BF16", (64,)),
            f"{p}.input_layernorm.weight": ("BF16", (2880,)),
            f"{p}.post_attention_layernorm.weight": ("BF16", (2880,)),
        }
    return out


LLAMA_8B = checkpoint(llama(32, 4096, 1024, 14336, 128256))
GPT_OSS = checkpoint(gpt_oss_20b())
SPLITS = (Parallel(), Parallel(2), Parallel(8), Parallel(2, 2), Parallel(16), Parallel(1, 3))


def test_made_checkpoints_are_as_large_as_the_published_ones() -> None:
    """metadata.total_size of meta-llama/Llama-3.1-8B-Instruct and openai/gpt-oss-20b."""
    assert LLAMA_8B.total_bytes == 16_060_522_496
    assert GPT_OSS.total_bytes == 13_761_264_768


@pytest.mark.parametrize("split", SPLITS)
def test_a_plain_checkpoint_is_the_count(split: Parallel) -> None:
    model = load_model("llama-3.1-8b")
    found = checkpoint_weights(model, LLAMA_8B, None, split)
    said = rank_weight_bytes(model, tp=split.tp, pp=split.pp)
    assert found.weights.stages == pytest.approx(said.stages, rel=1e-9)
    assert len(found.notes) == 1


@pytest.mark.parametrize("capability", [9.0, 10.0])
@pytest.mark.parametrize("split", [Parallel(), Parallel(2), Parallel(2, 2), Parallel(8)])
def test_fused_experts_are_padded_as_vllm_pads_them(split: Parallel, capability: float) -> None:
    model, card = load_model("gpt-oss-20b"), Card(capability)
    found = checkpoint_weights(model, GPT_OSS, None, split, gpu=card)
    said = rank_weight_bytes(model, tp=split.tp, pp=split.pp, gpu=card)
    assert found.weights.bytes == pytest.approx(said.bytes, rel=2e-4)


@given(tp=st.sampled_from([1, 2, 4, 8]), pp=st.integers(1, 4), name=st.sampled_from(["l", "g"]))
def test_ranks_hold_the_whole_between_them(tp: int, pp: int, name: str) -> None:
    model, index = (
        (load_model("llama-3.1-8b"), LLAMA_8B)
        if name == "l"
        else (load_model("gpt-oss-20b"), GPT_OSS)
    )
    found = checkpoint_weights(model, index, None, Parallel(tp, pp)).weights
    assert tp * sum(found.stages) >= 0.999 * index.total_bytes
    assert found.bytes == max(found.stages)
    assert sum(found.by_kind.values()) == pytest.approx(found.bytes)


def test_floats_of_32_bits_are_loaded_in_16() -> None:
    wide = checkpoint({n: ("F32", s) for n, (_, s) in llama(32, 4096, 1024, 14336, 128256).items()})
    held = checkpoint_weights(load_model("llama-3.1-8b"), wide, None, Parallel()).weights
    assert held.bytes == pytest.approx(LLAMA_8B.total_bytes)


def test_weights_may_be_quantized_while_loading() -> None:
    model, fp8 = load_model("llama-3.1-8b"), load_weight_format("fp8")
    online = checkpoint_weights(model, LLAMA_8B, fp8, Parallel()).weights
    said = rank_weight_bytes(model, fp8)
    assert online.bytes == pytest.approx(said.bytes, rel=1e-3)


def test_a_quantized_checkpoint_of_a_plain_model_needs_its_format() -> None:
    model = load_model("llama-3.1-8b")
    packed = dict(llama(32, 4096, 1024, 14336, 128256))
    for name in [n for n in packed if "_proj" in n]:
        rows, cols = packed.pop(name)[1]
        stem = name.removesuffix(".weight")
        packed[f"{stem}.qweight"] = ("I32", (cols, rows // 8))
        packed[f"{stem}.scales"] = ("F16", (cols // 128, rows))
        packed[f"{stem}.qzeros"] = ("I32", (cols // 128, rows // 8))
    index = checkpoint(packed)
    with pytest.raises(InvalidValue, match="name its quantization"):
        checkpoint_weights(model, index, None, Parallel())
    awq = load_weight_format("awq_int4")
    held = checkpoint_weights(model, index, awq, Parallel(4)).weights
    assert held.bytes == pytest.approx(rank_weight_bytes(model, awq, tp=4).bytes, rel=1e-3)


def test_another_models_checkpoint_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"24 of layers 0 to 23 and .* has 32 layers"):
        checkpoint_weights(load_model("llama-3.1-8b"), GPT_OSS, None, Parallel())


def test_names_that_nobody_knows_are_reported_or_refused() -> None:
    model = load_model("llama-3.1-8b")
    plain = llama(32, 4096, 1024, 14336, 128256)
    few = checkpoint({**plain, "model.layers.0.mystery.weight": ("BF16", (64, 64))})
    noted = checkpoint_weights(model, few, None, Parallel())
    assert "mystery" in noted.notes[1]
    assert noted.weights.bytes == pytest.approx(LLAMA_8B.total_bytes + 2 * 64 * 64)
    many = checkpoint({**plain, "model.layers.0.mystery.weight": ("BF16", (65536, 65536))})
    with pytest.raises(InvalidValue, match="names that the model's table does not hold"):
        checkpoint_weights(model, many, None, Parallel())


TOTALS = {"llama-3.1-8b": 16_060_522_496, "gemma-3-27b-it": 54_864_813_280}
"""metadata.total_size of published indices; the second holds a vision tower."""


@pytest.mark.parametrize(("name", "total"), TOTALS.items())
def test_an_index_alone_scales_the_count(tmp_path: Path, name: str, total: int) -> None:
    model = load_model(name)
    index = read_index(made_index(tmp_path, model, total))
    found = checkpoint_weights(model, index, None, Parallel()).weights
    assert found.bytes == pytest.approx(total, rel=1e-3)
    halves = checkpoint_weights(model, index, None, Parallel(2)).weights
    assert total / 2 < halves.bytes < 0.52 * total
    small = read_index(made_index(tmp_path, model, total // 4))
    with pytest.raises(InvalidValue, match=r"0\.25 times"):
        checkpoint_weights(model, small, None, Parallel())


def made_index(folder: Path, model: LlmModel, total: int) -> Path:
    """Write an index that names one tensor a layer."""
    names = {f"model.layers.{i}.input_layernorm.weight": "x" for i in range(len(model.pattern))}
    file = folder / "model.safetensors.index.json"
    file.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": names}))
    return file


def test_a_vision_tower_is_on_every_stage() -> None:
    model = load_model("gemma-3-27b-it")
    tower = model.parameters(TensorKind.VISION) * 2.0
    assert tower / GIB == pytest.approx(0.81, abs=0.05)
    held = rank_weight_bytes(model, pp=2)
    assert held.by_kind[TensorKind.VISION] == pytest.approx(tower)
