"""A model: its layers and tensors, from a Hugging Face config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from fitcalc.catalog.architectures.config import Config
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
from fitcalc.catalog.architectures.registry import Parts, build
from fitcalc.catalog.checkpoint import mark_ignored, names_layers, read_quantization
from fitcalc.catalog.config_files import fetch_config, looks_like_path, read_config
from fitcalc.catalog.model_names import Resolved, model_ids, resolve, search_models
from fitcalc.catalog.tables import read_toml
from fitcalc.errors import InvalidValue, UnknownName

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
    "from_config",
    "load_model",
    "model_ids",
    "search_models",
]


@dataclass(frozen=True, slots=True, eq=False)
class LlmModel:
    """A language model as vLLM would load it. Two models are equal if they are the same object.

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


def from_config(
    config: Mapping[str, object],
    id: str,  # noqa: A002 - the field's name
    *,
    hf_id: str = "",
    source: str = "",
    notes: str = "",
    quantization: CheckpointQuantization | None = None,
) -> LlmModel:
    """Build a model from the keys of its config.json.

    Args:
        config: The parsed config.
        id: The name to give it.
        hf_id: Its Hugging Face id, if it has one.
        source: Where the config was read.
        notes: What a reader should know.
        quantization: How the checkpoint is quantized, instead of what the config says.

    Raises:
        InvalidValue: an unknown architecture, a missing key, or a value that makes no sense.
    """
    top = Config(config)
    parts = build(top)
    text = parts.text
    quantized = quantization or read_quantization(top, text)
    layers, pattern = _distinct(parts, quantized.ignore if quantized else ())
    heads = text.integer("num_attention_heads", "n_head")
    kv_heads = text.integer("num_key_value_heads", "num_kv_heads", default=heads, least=0)
    return LlmModel(
        id=id,
        hf_id=hf_id,
        architecture=parts.architecture,
        model_type=top.text("model_type", ""),
        hidden_size=text.integer("hidden_size"),
        vocab_size=text.integer("vocab_size"),
        tie_word_embeddings=parts.tied,
        max_position_embeddings=text.integer("max_position_embeddings", "model_max_length"),
        num_hidden_layers=len(pattern),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        dtype=_dtype(top, text),
        layers=layers,
        pattern=pattern,
        outer=parts.outer,
        quantization=quantized,
        source=source,
        notes=notes,
    )


def _dtype(top: Config, text: Config) -> str:
    for config in (text, top):
        for key in ("dtype", "torch_dtype"):
            if key in config:
                return config.text(key).removeprefix("torch.")
    return "bfloat16"


def _distinct(parts: Parts, ignore: tuple[str, ...]) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """Return the distinct layers, and for each layer of the model which of them it is."""
    single = names_layers(ignore)
    marked: dict[tuple[int, int], Layer] = {}
    found: dict[int, int] = {}
    distinct: list[Layer] = []
    pattern = []
    for index, layer in enumerate(parts.layers):
        key = (id(layer), index if single else 0)
        if key not in marked:
            marked[key] = mark_ignored(layer, index, ignore) if ignore else layer
        chosen = marked[key]
        if id(chosen) not in found:
            if chosen not in distinct:
                distinct.append(chosen)
            found[id(chosen)] = distinct.index(chosen)
        pattern.append(found[id(chosen)])
    return tuple(distinct), tuple(pattern)


def load_model(model: str | Path | Mapping[str, object]) -> LlmModel:
    """Load a model by name, from a config.json or its folder, or from a parsed config.

    Args:
        model: An alias ("70b"), a table's name, a Hugging Face id in any case, also of a quantized
            variant of a known model, a path, or the config itself.

    Raises:
        UnknownName: no table has this name.
        InvalidValue: the config cannot be read or makes no sense.

    Examples:
        >>> load_model("70b").total_params
        70553706496
    """
    if isinstance(model, Mapping):
        name = model.get("_name_or_path")
        return from_config(model, name if isinstance(name, str) and name else "config")
    if not isinstance(model, str | Path) or not str(model).strip():
        raise InvalidValue("model", model, "give a name such as llama-3.1-70b, or a config.json")
    return _load(model)


@lru_cache(maxsize=256)
def _load(model: str | Path) -> LlmModel:
    name = str(model)
    if isinstance(model, Path) or looks_like_path(name):
        path = Path(name)
        folder = path.parent.name if path.name == "config.json" else path.stem
        return from_config(read_config(path), folder or "config", source=name)
    try:
        found = resolve(name)
    except UnknownName:
        fetched = fetch_config(name) if "/" in name else None
        if fetched is None:
            raise
        return from_config(fetched, name.rpartition("/")[2].lower(), hf_id=name, source=name)
    return _from_table(found, name)


def _from_table(found: Resolved, name: str) -> LlmModel:
    table = read_toml("models_db", "models", f"{found.id}.toml")
    config = cast("Mapping[str, object]", table.get("config", {}))
    if found.plain:
        config = {key: value for key, value in config.items() if key != "quantization_config"}
    renamed = found.quantization is not None or found.plain
    return from_config(
        config,
        found.id,
        hf_id=name if renamed and "/" in name else str(table.get("hf_id", "")),
        source=str(table.get("source", "")),
        notes=str(table.get("notes", "")),
        quantization=found.quantization,
    )
