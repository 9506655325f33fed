"""Decoders whose MLPs are routed experts, with ordinary attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.blocks import ExpertStyle
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.dense import (
    DenseStyle,
    attention_tensors,
    gqa,
    windows,
)
from fitcalc.catalog.architectures.parts import Attention, Layer, LayerKind, Moe, Shard

EXPERT_COUNT = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts")


@dataclass(frozen=True, slots=True)
class MoeStyle:
    """An attention style with an expert style; ``sinks``: one learned sink a head."""

    attention: DenseStyle
    experts: ExpertStyle
    sinks: bool = False


BLOCK_SPARSE = ExpertStyle(prefix="block_sparse_moe")
STYLES: dict[str, MoeStyle] = {
    "MixtralForCausalLM": MoeStyle(DenseStyle(), BLOCK_SPARSE),
    "Qwen3MoeForCausalLM": MoeStyle(
        DenseStyle(bias="attention_bias", output_bias="attention_bias", qk_norm="head"),
        ExpertStyle(),
    ),
    "PhiMoEForCausalLM": MoeStyle(
        DenseStyle(bias="attention_bias", output_bias="attention_bias", norms=4, final_norm=2),
        BLOCK_SPARSE,
    ),
    "Glm4MoeForCausalLM": MoeStyle(
        DenseStyle(bias="attention_bias", qk_norm="head", qk_norm_key="use_qk_norm"),
        ExpertStyle(score_bias=True, router_bytes=blocks.FP32),
    ),
    "GptOssForCausalLM": MoeStyle(
        DenseStyle(bias="attention_bias", output_bias="attention_bias", window_every=2),
        ExpertStyle(bias=True, router_bias=True),
        sinks=True,
    ),
    "MiniMaxM2ForCausalLM": MoeStyle(
        DenseStyle(qk_norm="all", qk_norm_key="use_qk_norm"),
        replace(BLOCK_SPARSE, score_bias=True, router_bytes=blocks.FP32),
    ),
    "Ernie4_5_MoeForCausalLM": MoeStyle(
        DenseStyle(bias="no"), ExpertStyle(score_bias=True, router_bytes=blocks.FP32)
    ),
    "HunYuanMoEV1ForCausalLM": MoeStyle(DenseStyle(qk_norm="head"), ExpertStyle()),
}


def moe(config: Config, layer: int = 0) -> Moe:
    """Read the expert block of a layer; sizes may be one number or one a layer."""
    count = config.integer(*EXPERT_COUNT)
    size = _each(config, ("moe_intermediate_size", "intermediate_size"), layer)
    top_k = _each(config, ("moe_topk", *TOP_K), layer)
    if top_k > count:
        raise config.error(TOP_K[0], f"it cannot exceed the number of experts, {count}")
    if "shared_expert_intermediate_size" in config:
        shared = config.integer("shared_expert_intermediate_size", least=0)
    elif "moe_shared_expert_intermediate_size" in config:
        shared = config.integer("moe_shared_expert_intermediate_size", least=0)
    else:
        keys = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts",
                "num_shared_expert")  # fmt: skip
        shared = size * _each(config, keys, layer, default=0)
    return Moe(count, top_k, size, shared)


def _each(config: Config, keys: tuple[str, ...], layer: int, default: int | None = None) -> int:
    for key in keys:
        if key in config and not isinstance(config.data[key], int | float | str):
            values = config.integers(key, layer + 1)
            if values is not None:
                return values[layer]
    return config.integer(*keys, default=default, least=1 if default is None else 0)


def sparse_layers(config: Config) -> tuple[bool, ...]:
    """Which layers have experts: a list a layer, or first_k_dense_replace and a step."""
    count = config.num_hidden_layers
    kinds = config.texts("mlp_layer_types", count)
    if kinds is not None:
        return tuple(kind == "sparse" for kind in kinds)
    dense = config.integers("mlp_only_layers") or ()
    first = config.integer("first_k_dense_replace", "moe_layer_start_index", default=0, least=0)
    last = config.integer("moe_layer_end_index", default=count - 1, least=0)
    step = config.integer("decoder_sparse_step", "moe_layer_interval", default=1)
    if "moe_layer_freq" in config and not isinstance(config.data["moe_layer_freq"], int):
        return tuple(bool(v) for v in config.integers("moe_layer_freq", count) or ())
    return tuple(
        first <= i <= last and i not in dense and (i + 1) % step == 0 for i in range(count)
    )


def moe_layers(config: Config, style: MoeStyle) -> tuple[Layer, ...]:
    """Every decoder layer of a mixture-of-experts model with ordinary attention, in order."""
    cycle = windows(config, style.attention.window_every)
    sparse = sparse_layers(config)
    built: dict[tuple[int | None, Moe | None], Layer] = {}
    layers = []
    for i, window in enumerate(cycle):
        key = (window, moe(config, i) if sparse[i] else None)
        if key not in built:
            built[key] = _layer(config, style, gqa(config, window), key[1])
        layers.append(built[key])
    return tuple(layers)


def _layer(config: Config, style: MoeStyle, mixer: Attention, routed: Moe | None) -> Layer:
    hidden = config.integer("hidden_size")
    tensors = attention_tensors(config, style.attention, mixer)
    tensors += blocks.vector("layernorms", hidden, copies=style.attention.norms)
    if style.sinks:
        tensors += blocks.vector("self_attn.sinks", mixer.num_attention_heads, Shard.COLUMN)
    if routed:
        return Layer(mixer, routed, 0, tensors + blocks.experts(routed, hidden, style.experts))
    size = config.integer("intermediate_size")
    return Layer(mixer, None, size, tensors + blocks.mlp(hidden, size))


def llama4_layers(config: Config) -> tuple[Layer, ...]:
    """Llama 4: three chunked-local layers, then a full one; experts in every n-th layer."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    step = config.integer("interleave_moe_layer_step", default=1)
    chunk = config.integer("attention_chunk_size")
    size = config.integer("intermediate_size")
    full = replace(gqa(config), kind=LayerKind.FULL)
    chunked = replace(full, kind=LayerKind.CHUNKED, window=chunk)
    dense = config.integer("intermediate_size_mlp")
    routed = Moe(
        config.integer("num_local_experts"), config.integer("num_experts_per_tok"), size, size
    )  # fmt: skip
    norms = blocks.vector("layernorms", hidden, copies=2)
    style = ExpertStyle(prefix="feed_forward")

    def layer(mixer: Attention, sparse: bool) -> Layer:  # noqa: FBT001 - two kinds of MLP
        tensors = blocks.attention(mixer, hidden) + norms
        if sparse:
            return Layer(mixer, routed, 0, tensors + blocks.experts(routed, hidden, style))
        return Layer(mixer, None, dense, tensors + blocks.mlp(hidden, dense, prefix="feed_forward"))

    no_rope = 4
    built = {(m, s): layer(m, s) for m in (full, chunked) for s in (True, False)}
    return tuple(
        built[(full if (i + 1) % no_rope == 0 else chunked, (i + 1) % step == 0)]
        for i in range(count)
    )
