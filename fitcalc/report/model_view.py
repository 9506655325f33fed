"""Models as tables: the list, and one model with what decides its memory and speed."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.catalog.architectures.parts import Attention, State
from fitcalc.catalog.formats import load_kv_format
from fitcalc.catalog.model import LlmModel, load_model, model_ids, search_models
from fitcalc.catalog.quality import checkpoints
from fitcalc.errors import UnknownName
from fitcalc.physics.kv_layers import attention_bytes_per_token
from fitcalc.report.parts import NARROW, table
from fitcalc.report.words import count
from fitcalc.units import GIGA

View = Callable[[int], RenderableType]


def answer(name: str | None) -> tuple[dict[str, object], View]:
    """Return the models of a name, a part of a name, or all: as JSON and as a view."""
    found = _found(name)
    if isinstance(found, LlmModel):
        return one_json(found), lambda _: one_view(found)
    models = [load_model(model_id) for model_id in found]
    return (
        {"models": [row_json(model) for model in models]},
        lambda width: list_view(models, width),
    )


def _found(name: str | None) -> LlmModel | tuple[str, ...]:
    """Return one model where the name is its own, else the ids that hold the name."""
    if name is None:
        return model_ids()
    try:
        return load_model(name)
    except UnknownName:
        found = search_models(name)
        if not found:
            raise
        return found


def kv_bytes_per_token(model: LlmModel) -> float:
    """Bytes that one more token adds to a 16-bit KV cache, over all layers and GPUs. [B]

    Examples:
        >>> kv_bytes_per_token(load_model("llama-3.1-70b"))
        327680.0
    """
    kv = load_kv_format("auto")
    growing = (model.layers[i].mixer for i in model.pattern)
    return float(
        sum(
            attention_bytes_per_token(mixer, kv, 1, packed_mla=False)
            for mixer in growing
            if isinstance(mixer, Attention) and not mixer.shares_kv
        )
    )


def row_json(model: LlmModel) -> dict[str, object]:
    """Return a model's line of the list."""
    return {
        "id": model.id,
        "hf_id": model.hf_id,
        "architecture": model.architecture,
        "total_params": model.total_params,
        "active_params": model.active_params,
        "max_position_embeddings": model.max_position_embeddings,
        "kv_bytes_per_token": kv_bytes_per_token(model),
        "checkpoint_format": _format(model),
    }


def one_json(model: LlmModel) -> dict[str, object]:
    """Return what is known of a model."""
    return {
        **row_json(model),
        "num_hidden_layers": model.num_hidden_layers,
        "hidden_size": model.hidden_size,
        "vocab_size": model.vocab_size,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "layers": _layers(model),
        "published_checkpoints": {name: list(ids) for name, ids in checkpoints(model.id).items()},
        "source": model.source,
        "notes": model.notes,
    }


def list_view(models: list[LlmModel], width: int) -> RenderableType:
    """Lay out one line a model."""
    wide = () if width < NARROW else ("active", "context", "checkpoint")
    made = table("", "id", "parameters", "KV a token", *wide)
    for model in models:
        rest = (_billions(model.active_params), f"{model.max_position_embeddings:,}")
        size = f"{kv_bytes_per_token(model):,.0f} B"
        cells = (*rest, _format(model)) if wide else ()
        made.add_row(model.id, _billions(model.total_params), size, *cells)
    return Group(made, Text("KV a token: 16-bit cache, all layers, all GPUs together."))


def one_view(model: LlmModel) -> RenderableType:
    """Lay out one model."""
    made = table(f"{model.id} ({model.hf_id or 'no Hugging Face id'})", "", "")
    made.columns[1].justify = "left"
    rows = (
        ("architecture", model.architecture),
        ("parameters", f"{model.total_params:,} ({_billions(model.total_params)})"),
        ("active a token", _billions(model.active_params)),
        ("checkpoint", _format(model)),
        ("published", _published(model)),
        ("layers", "; ".join(f"{n} x {what}" for what, n in _layers(model).items())),
        ("hidden size", f"{model.hidden_size:,}"),
        ("vocabulary", f"{model.vocab_size:,}"),
        ("longest context", f"{model.max_position_embeddings:,} tokens"),
        ("KV a token", f"{kv_bytes_per_token(model):,.0f} B in 16 bits, all GPUs together"),
        ("source", model.source),
        ("notes", model.notes),
    )
    for name, value in rows:
        if value:
            made.add_row(name, value)
    return made


def _published(model: LlmModel) -> str:
    """Name the quantized checkpoints that are known, the first of each format."""
    known = checkpoints(model.id)
    if not known:
        return "no quantized checkpoint known"
    return "; ".join(f"{name}: {ids[0]}" for name, ids in known.items())


def _layers(model: LlmModel) -> dict[str, int]:
    """Describe the kinds of layers, and count each."""
    counts: dict[str, int] = {}
    for layer, n in zip(model.layers, model.layer_counts, strict=True):
        parts = [_mixer(layer.mixer)]
        if layer.moe is not None:
            parts.append(f"{layer.moe.num_experts_per_tok} of {layer.moe.num_experts} experts")
        elif layer.intermediate_size:
            parts.append(f"MLP {layer.intermediate_size:,}")
        words = ", ".join(part for part in parts if part)
        counts[words] = counts.get(words, 0) + n
    return counts


def _mixer(mixer: Attention | State | None) -> str:
    match mixer:
        case None:
            return ""
        case State():
            return f"{mixer.kind.value} state"
        case Attention() if mixer.kv_lora_rank:
            return f"MLA {mixer.kv_lora_rank} + {mixer.qk_rope_head_dim}"
        case Attention():
            window = f" within {mixer.window:,}" if mixer.window else ""
            heads = count(mixer.num_key_value_heads, "KV head")
            return f"{mixer.kind.value} attention{window}, {heads} of {mixer.head_dim}"


def _format(model: LlmModel) -> str:
    return model.quantization.format if model.quantization else model.dtype


def _billions(parameters: float) -> str:
    return f"{parameters / GIGA:.3g} B"
