"""Names of checkpoints' tensors, and the tensors of a model's table that they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from fitcalc.catalog.model import LlmModel, Tensor, TensorKind


class Part(StrEnum):
    """Where in a model a tensor belongs."""

    LAYER = "layer"
    EMBEDDING = "embedding"
    HEAD = "head"
    LAST = "last"
    VISION = "vision"
    MTP = "mtp"
    UNUSED = "unused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor belongs: of which layer, which module, which of its parameters."""

    part: Part
    layer: int = -1
    module: str = ""
    parameter: str = "weight"
    expert: bool = False
    shared: bool = False


_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.+)$")
_VISION = re.compile(
    r"(?:^|\.)(?:visual|vision_\w+|multi_modal_projector|mm_projector|patch_merger|embed_vision|"
    r"image_\w+|audio_\w+|embed_audio|aligner|mlp1)(?:\.|$)"
)
_MTP = re.compile(r"(?:^|\.)(?:mtp|nextn)\w*\.")
_EMBEDDING = ("embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embeddings", "embedding",
              "embed_tokens_per_layer")  # fmt: skip
_HEAD = ("lm_head", "output", "output_layer", "embed_out")
_UNUSED = ("inv_freq", "rotary_emb", "masked_bias")
_SHARED = ("shared_experts", "shared_expert", "shared_mlp")
_FUSED_PARAMETER = re.compile(r"(\w+_proj)_(blocks|scales|bias)$")  # gpt-oss
_PARAMETERS = (
    "weight", "bias", "weight_scale", "weight_scale_inv", "weight_scale_2", "input_scale",
    "weight_packed", "weight_shape", "weight_zero_point", "weight_g_idx", "weight_global_scale",
    "input_global_scale", "qweight", "qzeros", "scales", "g_idx", "k_scale", "v_scale", "kv_scale",
    "output_scale", "blocks",
)  # fmt: skip
_SAME = {
    "w1": ("gate_proj",), "w3": ("up_proj",), "w2": ("down_proj",),
    "wq": ("q_proj",), "wk": ("k_proj",), "wv": ("v_proj",), "wo": ("o_proj",),
    "w13": ("gate_proj", "up_proj"), "gate_up_proj": ("gate_proj", "up_proj"),
    "input_linear": ("gate_proj", "up_proj"), "output_linear": ("down_proj",),
    "dense_h_to_4h": ("gate_proj", "up_proj"), "dense_4h_to_h": ("down_proj",),
    "qkv_proj": ("q_proj", "k_proj", "v_proj"), "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "W_pack": ("q_proj", "k_proj", "v_proj"), "wqkv": ("q_proj", "k_proj", "v_proj"),
    "Wqkv": ("q_proj", "k_proj", "v_proj"), "c_attn": ("q_proj", "k_proj", "v_proj"),
    "dense": ("o_proj",), "out_proj": ("out_proj", "o_proj"), "router": ("gate",),
    "layer": ("gate",), "proj": ("gate",),
    "in_proj_qkv": ("in_proj_qkvz",), "in_proj_z": ("in_proj_qkvz",), "in_proj_b": ("in_proj_ba",),
    "in_proj_a": ("in_proj_ba",), "shared_expert_gate": ("shared_expert_gate",),
}  # fmt: skip
"""Modules that checkpoints call otherwise, or fuse, than the model's table."""


def place(model: LlmModel, name: str) -> Place:
    """Find where a tensor belongs by its name.

    Examples:
        >>> from types import SimpleNamespace
        >>> place(SimpleNamespace(num_hidden_layers=32), "model.layers.3.self_attn.q_proj.weight")
        Place(part=<Part.LAYER: 'layer'>, layer=3, module='q_proj', parameter='weight', \
expert=False, shared=False)
    """
    words = name.split(".")
    if any(word in _UNUSED for word in words):
        return Place(Part.UNUSED)
    aside = Part.VISION if _VISION.search(name) else Part.MTP if _MTP.search(name) else None
    if aside is not None:
        return Place(aside)
    inside = _LAYER.search(name)
    if inside is not None:
        layer = int(inside[1])
        part = Part.LAYER if layer < model.num_hidden_layers else Part.MTP
        module, parameter, expert, shared = _module(re.sub(r"\.\d+\.", ".0.", inside[2]))
        return Place(part, layer, module, parameter, expert, shared)
    module, parameter, _, _ = _module(name)
    last = "norm" in module or module.startswith(("ln_", "per_layer"))
    outside = Part.LAST if last else Part.UNKNOWN
    if module in _EMBEDDING or module in _HEAD:
        outside = Part.EMBEDDING if module in _EMBEDDING else Part.HEAD
    return Place(outside, module=module, parameter=parameter)


@lru_cache(maxsize=4096)
def _module(rest: str) -> tuple[str, str, bool, bool]:
    """Split a name in a layer: module, parameter, whether an expert's, whether a shared one's."""
    words = rest.split(".")
    parameter = words.pop() if words[-1] in _PARAMETERS and len(words) > 1 else "weight"
    fused = _FUSED_PARAMETER.match(words[-1])
    if fused is not None:
        words[-1], parameter = fused[1], fused[2]
    shared = any(word in _SHARED for word in words)
    stacked = "block_sparse_moe" in words and words[-1] in ("input_linear", "output_linear")
    expert = ("experts" in words or stacked) and not shared
    return words[-1], parameter, expert, shared


def layer_tensors(model: LlmModel, where: Place) -> tuple[Tensor, ...]:
    """Return the tensors of a model's layer that a name stands for; none if it is not known."""
    known = _table(model, model.pattern[where.layer])
    names = (where.module, *_SAME.get(where.module, ()))
    whole = known.get((where.module, where.expert, where.shared))
    if whole is not None:
        return (whole,)
    found = (known.get((name, where.expert, where.shared)) for name in names)
    return tuple(tensor for tensor in found if tensor is not None)


@lru_cache(maxsize=4096)
def _table(model: LlmModel, layer: int) -> Mapping[tuple[str, bool, bool], Tensor]:
    """Matrices of a distinct layer by module, whether of an expert, whether of a shared one."""
    found: dict[tuple[str, bool, bool], Tensor] = {}
    for tensor in model.layers[layer].tensors:
        words = tensor.name.split(".")
        if words[-1] == "bias":
            continue
        shared = any(word in _SHARED for word in words)
        found[words[-1], tensor.kind is TensorKind.EXPERT, shared] = tensor
    return found
