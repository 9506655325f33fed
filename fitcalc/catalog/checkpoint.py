"""What a checkpoint quantized: its quantization_config, or the suffix of its name."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache

from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import (
    CheckpointQuantization,
    Layer,
    Tensor,
    TensorKind,
)

LM_HEAD = ("lm_head",)
_NO_METHOD = "fitcalc knows fp8, awq, gptq, compressed-tensors, modelopt and mxfp4"
_FLOAT_BITS = {8: "fp8", 4: "nvfp4"}
MXFP_GROUP = 32
FOUR_BITS = 4


def read_quantization(config: Config, text: Config) -> CheckpointQuantization | None:
    """Read ``quantization_config`` of the config or of its text part; None if there is none.

    Raises:
        InvalidValue: a quantization method that vLLM 0.33 or fitcalc does not know.
    """
    q = config.sub("quantization_config") or text.sub("quantization_config")
    if q is None:
        return None
    method = q.text("quant_method", "modelopt" if "quant_algo" in q else None)
    ignore = tuple(
        name
        for key in ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules")
        for name in q.texts(key) or ()
    )
    kv = q.sub("kv_cache_scheme")
    kv_format = "fp8" if kv is not None or q.data.get("kv_cache_quant_algo") == "FP8" else None
    if method == "compressed-tensors":
        return replace(_compressed(q, ignore), kv_format=kv_format)
    if method.startswith("modelopt"):
        return replace(_modelopt(q, ignore), kv_format=kv_format)
    if method == "fp8":
        block = q.integers("weight_block_size")
        return CheckpointQuantization("fp8_block" if block else "fp8", "fp8", None, ignore)
    if method == "mxfp4":
        return CheckpointQuantization("mxfp4", "mxfp4", MXFP_GROUP, ignore)
    if method in ("awq", "gptq"):
        bits = q.integer("bits", "w_bit", default=FOUR_BITS)
        if bits != FOUR_BITS:
            raise q.error("bits", f"fitcalc knows {method} with 4 bits only")
        group = q.integer("group_size", "q_group_size", default=128)
        return CheckpointQuantization(
            f"{method}_int4", method, group, ignore, quantizes_lm_head=q.flag("lm_head")
        )
    raise q.error("quant_method", _NO_METHOD)


def _compressed(q: Config, ignore: tuple[str, ...]) -> CheckpointQuantization:
    groups = q.sub("config_groups")
    first = groups.sub(*sorted(groups.data)) if groups is not None and groups.data else None
    weights = first.sub("weights") if first is not None else None
    if first is None or weights is None:
        raise q.error("config_groups", "add the groups with their weights")
    bits, kind = weights.integer("num_bits"), weights.text("type", "int")
    group = weights.integer("group_size", default=0, least=-1)
    packed = first.text("format", q.text("format", ""))
    if kind == "float" and "mxfp4" in packed:
        name = "mxfp4"
    elif kind == "float" and bits in _FLOAT_BITS:
        blocked = weights.text("strategy", "") == "block"
        name = "fp8_block" if blocked else _FLOAT_BITS[bits]
    elif kind == "int" and bits == FOUR_BITS:
        name = "w4a16"
    elif kind == "int" and "input_activations" in first:
        name = "int8"
    else:
        raise weights.error("num_bits", "fitcalc knows 4 and 8 bits with 8-bit activations")
    return CheckpointQuantization(name, "compressed-tensors", max(group, 0) or None, ignore)


def _modelopt(q: Config, ignore: tuple[str, ...]) -> CheckpointQuantization:
    algorithm = q.text("quant_algo", q.text("quant_method"))
    names = {"FP8": ("fp8", "modelopt"), "NVFP4": ("nvfp4", "modelopt_fp4"),
             "MXFP8": ("mxfp8", "modelopt_mxfp8")}  # fmt: skip
    if algorithm not in names:
        raise q.error("quant_algo", f"fitcalc knows {', '.join(names)}")
    name, method = names[algorithm]
    return CheckpointQuantization(name, method, None, ignore)


@lru_cache(maxsize=16384)
def is_ignored(module: str, patterns: tuple[str, ...]) -> bool:
    """Whether a checkpoint's ignore list leaves a module in 16 bits.

    ``re:`` marks a regular expression, ``*`` a glob; a plain name matches the module, a module
    inside it, or a last component such as ``gate``.

    Examples:
        >>> is_ignored("model.layers.0.mlp.gate", ("gate", "lm_head"))
        True
        >>> is_ignored("model.layers.0.mlp.gate_proj", ("gate", "lm_head"))
        False
    """
    for pattern in patterns:
        if pattern.startswith("re:"):
            if re.match(pattern[3:], module):
                return True
        elif "*" in pattern:
            if fnmatchcase(module, pattern) or fnmatchcase(module, f"{pattern}.*"):
                return True
        elif f".{pattern}." in f".{module}.":
            return True
    return False


def mark_ignored(layer: Layer, index: int, patterns: tuple[str, ...]) -> Layer:
    """Return the layer with the tensors marked that the checkpoint left in 16 bits."""
    tensors = tuple(
        replace(t, ignored=True)
        if _quantizable(t) and is_ignored(f"model.layers.{index}.{t.name}", patterns)
        else t
        for t in layer.tensors
    )
    return replace(layer, tensors=tensors)


def _quantizable(tensor: Tensor) -> bool:
    return tensor.kind in (TensorKind.LINEAR, TensorKind.EXPERT)


def names_layers(patterns: tuple[str, ...]) -> bool:
    """Whether an ignore list speaks of single layers, so that equal layers come to differ."""
    return any(re.search(r"layers?\W*\d|\d\|\d", pattern) for pattern in patterns)
