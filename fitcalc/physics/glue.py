"""Kernels that only move bytes: norms, rotations, activations, the sampler."""

from __future__ import annotations

from fitcalc.catalog.laws import MemoryLaw
from fitcalc.catalog.model import Attention, Layer, LlmModel, State
from fitcalc.physics.kernels import ACTIVATION_BYTES
from fitcalc.physics.kv_layers import state_bytes
from fitcalc.physics.terms import GlueTerm
from fitcalc.physics.weights import Parallel
from fitcalc.units import Values

_SAMPLER_PASSES = 4.0
_LOGIT_BYTES = 4.0
"""The sampler works in 32 bits: vllm/v1/worker/gpu/sample/sampler.py:242. [B]"""
_NORM_PASSES = 4.0
"""A fused residual-add and norm reads two rows and writes two. [rows]"""
_NORMS_PER_LAYER = 2.0
_KERNELS_PER_WIDE_NORM = 2.0
"""Sums of squares before the ranks add them, scaling after. [1]"""
_KERNELS_PER_LAYER = 4.0
"""Norm, rotary, cache write, norm: what stays beside GEMMs and attention. [1]"""


def glue_term(model: LlmModel, split: Parallel, law: MemoryLaw, fuses: Values) -> GlueTerm:
    """Return the kernels that only move bytes.

    Args:
        model: The model.
        split: How its tensors are shared.
        law: Coefficients.
        fuses: Whether each all-reduce and the norm after it are one kernel.
    """
    moved, states, activations = 0.0, 0.0, 0.0
    for layer, count in zip(model.layers, model.layer_counts, strict=True):
        width = 2.0 * _NORM_PASSES * model.hidden_size + _sharded(layer, split)
        if isinstance(layer.mixer, State):
            states += count * 2.0 * state_bytes(layer.mixer, split.tp)
        activations += count * (layer.intermediate_size > 0)
        moved += count * ACTIVATION_BYTES * width
    return GlueTerm(
        token_bytes=moved,
        state_bytes=states,
        row_bytes=_SAMPLER_PASSES * _LOGIT_BYTES * model.vocab_size,
        kernels=(_KERNELS_PER_LAYER - _NORMS_PER_LAYER * fuses) * model.num_hidden_layers
        + activations
        + _KERNELS_PER_WIDE_NORM * wide_norms(model),
        law=law,
    )


def _sharded(layer: Layer, split: Parallel) -> float:
    """Elements of attention's and the dense MLP's activations that a rank moves, a token. [1]"""
    width = 3.0 * layer.intermediate_size
    if isinstance(layer.mixer, Attention):
        heads = layer.mixer.num_attention_heads + 2.0 * layer.mixer.num_key_value_heads
        width += 2.0 * heads * layer.mixer.head_dim
    return width / split.tp


def wide_norms(model: LlmModel) -> int:
    """Layers that normalize all heads together, for which ranks must add up their squares. [1]

    vLLM 0.33.0 model_executor/layers/minimax_rms_norm/rms_norm_tp.py.
    """
    wide = 0
    for layer, count in zip(model.layers, model.layer_counts, strict=True):
        if isinstance(layer.mixer, Attention) and layer.mixer.num_key_value_heads > 1:
            width = layer.mixer.num_attention_heads * layer.mixer.head_dim
            names = (t.rows for t in layer.tensors if t.name.endswith("q_norm"))
            wide += count * (width in names)
    return wide
