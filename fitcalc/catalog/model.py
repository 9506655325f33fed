"""A model: its layers and tensors, from a Hugging Face config."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.catalog.architectures.parts import (
    Attention,
    CheckpointQuantization,
    Layer,
    LayerKind,
    Moe,
    Shard,
    State,
    StateKind,
    StateShape,
    Tensor,
    TensorKind,
)

__all__ = [
    "Attention",
    "CheckpointQuantization",
    "Layer",
    "LayerKind",
    "LlmModel",
    "Moe",
    "Shard",
    "State",
    "StateKind",
    "StateShape",
    "Tensor",
    "TensorKind",
]


@dataclass(frozen=True, slots=True)
class LlmModel:
    """A language model as vLLM would load it.

    ``layers`` are the distinct decoder layers, ``pattern`` names one of them for each of the
    ``num_hidden_layers``; ``outer`` are the tensors outside the layers.
    """

    id: str
    hf_id: str
    architecture: str
    model_type: str
    hidden_size: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    dtype: str
    layers: tuple[Layer, ...]
    pattern: tuple[int, ...]
    outer: tuple[Tensor, ...]
    quantization: CheckpointQuantization | None
    source: str
    notes: str

    @property
    def layer_counts(self) -> tuple[int, ...]:
        """How often each distinct layer occurs. [1]"""
        return tuple(self.pattern.count(i) for i in range(len(self.layers)))

    def parameters(self, *kinds: TensorKind) -> int:
        """Weights of these kinds over all ranks; of every kind if none is named. [1]"""
        per_layer = [
            sum(t.parameters for t in layer.tensors if not kinds or t.kind in kinds)
            for layer in self.layers
        ]
        inside = sum(per_layer[i] for i in self.pattern)
        return inside + sum(t.parameters for t in self.outer if not kinds or t.kind in kinds)

    @property
    def total_params(self) -> int:
        """Weights of decoder, embeddings, head and vision tower; without MTP layers. [1]"""
        return self.parameters(*(kind for kind in TensorKind if kind is not TensorKind.MTP))

    @property
    def active_params(self) -> float:
        """Decoder weights that one token touches: all but vision, MTP and unrouted experts. [1]"""
        total = 0.0
        for layer, count in zip(self.layers, self.layer_counts, strict=True):
            share = layer.moe.num_experts_per_tok / layer.moe.num_experts if layer.moe else 1.0
            total += count * sum(
                t.parameters * (share if t.kind is TensorKind.EXPERT else 1.0)
                for t in layer.tensors
            )
        skipped = (TensorKind.VISION, TensorKind.MTP)
        return total + sum(t.parameters for t in self.outer if t.kind not in skipped)

    @property
    def is_moe(self) -> bool:
        """Whether any layer has routed experts."""
        return any(layer.moe is not None for layer in self.layers)
