"""Decoders whose layers differ in heads or widths: Gemma 4, MiMo V2, Falcon."""

from __future__ import annotations

from dataclasses import replace

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.blocks import ExpertStyle
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.dense import gqa, qk_norms
from fitcalc.catalog.architectures.moe import moe, sparse_layers
from fitcalc.catalog.architectures.parts import Attention, Layer, LayerKind, Shard

FULL, SLIDING = "full_attention", "sliding_attention"
_WIDENING = 4


def gemma4_layers(config: Config) -> tuple[Layer, ...]:
    """Gemma 4: sliding layers, and full ones with wider heads and, in larger ones, k = v.

    The last ``num_kv_shared_layers`` read the cache of an earlier layer of their kind.
    """
    count = config.num_hidden_layers
    kinds = config.texts("layer_types", count)
    if kinds is None or set(kinds) - {FULL, SLIDING}:
        raise config.error("layer_types", "give full_attention or sliding_attention for each layer")
    shared = count - config.integer("num_kv_shared_layers", default=0, least=0)
    keys = [(kind, i >= shared > 0) for i, kind in enumerate(kinds)]
    built = {key: _gemma4_layer(config, *key) for key in set(keys)}
    return tuple(built[key] for key in keys)


def _gemma4_layer(config: Config, kind: str, shares: bool) -> Layer:  # noqa: FBT001 - a dict's key
    hidden, size = config.integer("hidden_size"), config.integer("intermediate_size")
    if shares and config.flag("use_double_wide_mlp"):
        size *= 2
    mixer, k_eq_v = _gemma4_attention(config, kind)
    mixer = replace(mixer, shares_kv=shares)
    tensors = blocks.attention(mixer, hidden, k_eq_v=k_eq_v) + qk_norms(mixer, "head")
    tensors += blocks.mlp(hidden, size) + blocks.vector("layernorms", hidden, copies=4)
    tensors += blocks.vector("layer_scalar", 1)
    routed = moe(config) if config.flag("enable_moe_block") else None
    if routed is not None:
        tensors += blocks.experts(routed, hidden, ExpertStyle(prefix="moe"))
        tensors += blocks.vector("moe_layernorms", hidden, copies=3)
        tensors += blocks.vector("router.scale", hidden)
        tensors += blocks.vector("moe.per_expert_scale", routed.num_experts)
    return Layer(mixer, routed, size, tensors + _per_layer_input(config))


def _gemma4_attention(config: Config, kind: str) -> tuple[Attention, bool]:
    if kind == SLIDING:
        return gqa(config, config.integer("sliding_window")), False
    size = config.integer("global_head_dim", "head_dim")
    mixer = replace(gqa(config), head_dim=size, v_head_dim=size)
    k_eq_v = config.flag("attention_k_eq_v")
    if k_eq_v and "num_global_key_value_heads" in config:
        heads = config.integer("num_global_key_value_heads", most=mixer.num_attention_heads)
        mixer = replace(mixer, num_key_value_heads=heads)
    return mixer, k_eq_v


def _per_layer_input(config: Config) -> blocks.Tensors:
    """Gate and projection of the per-layer embedding, and their norm."""
    size = config.integer("hidden_size_per_layer_input", default=0, least=0)
    if not size:
        return ()
    hidden = config.integer("hidden_size")
    tensors = blocks.linear("per_layer_input_gate", size, hidden, Shard.REPLICATED, "ple_gate")
    tensors += blocks.linear(
        "per_layer_projection", hidden, size, Shard.REPLICATED, "ple_projection"
    )
    return tensors + blocks.vector("post_per_layer_input_norm", hidden)


def gemma4_outer(config: Config) -> blocks.Tensors:
    """Per-layer embeddings of the smaller Gemma 4, and their projection."""
    size = config.integer("hidden_size_per_layer_input", default=0, least=0)
    if not size:
        return ()
    vocab = config.integer("vocab_size_per_layer_input", "vocab_size")
    hidden, wide = config.integer("hidden_size"), size * config.num_hidden_layers
    return (
        *blocks.table("embed_tokens_per_layer", vocab, wide),
        *blocks.vector("per_layer_model_projection", wide * hidden),
        *blocks.vector("per_layer_projection_norm", size),
    )


def mimo_v2_layers(config: Config) -> tuple[Layer, ...]:
    """MiMo V2 Flash: sliding layers with sinks and heads of their own, experts after the first."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    pattern = config.integers("hybrid_layer_pattern", count)
    if pattern is None:
        raise config.error("hybrid_layer_pattern", "add this key, as config.json has it")
    full = replace(gqa(config), v_head_dim=config.integer("v_head_dim", "head_dim"))
    sliding = Attention(
        LayerKind.SLIDING, config.integer("swa_num_attention_heads"),
        config.integer("swa_num_key_value_heads"), config.integer("swa_head_dim"),
        config.integer("swa_v_head_dim"), config.integer("sliding_window", "sliding_window_size"),
    )  # fmt: skip
    routed, size = moe(config), config.integer("intermediate_size")
    style = ExpertStyle(score_bias=True)
    norms = blocks.vector("layernorms", hidden, copies=2)
    keys = list(zip(pattern, sparse_layers(config), strict=True))
    built = {}
    for key in set(keys):
        mixer = sliding if key[0] else full
        tensors = blocks.attention(mixer, hidden, bias=config.flag("attention_bias")) + norms
        if key[0] and config.flag("add_swa_attention_sink_bias"):
            tensors += blocks.vector("self_attn.sinks", mixer.num_attention_heads, Shard.COLUMN)
        built[key] = (
            Layer(mixer, routed, 0, tensors + blocks.experts(routed, hidden, style))
            if key[1]
            else Layer(mixer, None, size, tensors + blocks.mlp(hidden, size))
        )
    return tuple(built[key] for key in keys)


def falcon_layers(config: Config) -> tuple[Layer, ...]:
    """Falcon: attention and a plain MLP side by side, one LayerNorm or (new decoder) two."""
    hidden, new = config.integer("hidden_size"), config.flag("new_decoder_architecture")
    size = config.integer("ffn_hidden_size", "intermediate_size", default=_WIDENING * hidden)
    bias = config.flag("bias")
    mixer = gqa(config)
    if not new and config.flag("multi_query", default=True):
        mixer = replace(mixer, num_key_value_heads=1)
    tensors = blocks.attention(mixer, hidden, bias=bias, output_bias=bias)
    tensors += blocks.mlp(hidden, size, gated=False, bias=bias)
    tensors += blocks.vector("layernorms", hidden, copies=4 if new else 2)
    return (Layer(mixer, None, size, tensors),) * config.num_hidden_layers
