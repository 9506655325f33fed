"""Multi-head latent attention (DeepSeek, Kimi, GLM), with or without the sparse indexer."""

from __future__ import annotations

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.blocks import ExpertStyle
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.moe import moe, sparse_layers
from fitcalc.catalog.architectures.parts import Attention, Layer, LayerKind, Shard

DOWN = "fused_qkv_a_proj"


def mla(config: Config, *, indexer: bool | None = None) -> Attention:
    """Read the attention of an MLA layer; ``indexer`` False = it reuses another layer's choice."""
    heads = config.integer("num_attention_heads")
    nope = config.integer("qk_nope_head_dim")
    rope = config.integer("qk_rope_head_dim", least=0)
    own = indexer is not False and "index_topk" in config
    return Attention(
        LayerKind.MLA, heads, 1, nope + rope, config.integer("v_head_dim"),
        kv_lora_rank=config.integer("kv_lora_rank"),
        q_lora_rank=config.integer("q_lora_rank", default=0, least=0),
        qk_rope_head_dim=rope, qk_nope_head_dim=nope,
        index_topk=config.integer("index_topk", default=0, least=0),
        index_n_heads=config.integer("index_n_heads") if own else 0,
        index_head_dim=config.integer("index_head_dim") if own else 0,
    )  # fmt: skip


def mla_tensors(a: Attention, hidden: int, *, gate: bool = False) -> blocks.Tensors:
    """Down-projections (replicated), up-projections (by head), output, and the indexer."""
    p = "self_attn"
    query = a.num_attention_heads * a.head_dim
    if a.q_lora_rank:
        tensors = blocks.linear(f"{p}.q_a_proj", a.q_lora_rank, hidden, Shard.REPLICATED, DOWN)
        tensors += blocks.vector(f"{p}.q_a_layernorm", a.q_lora_rank)
        tensors += blocks.linear(f"{p}.q_b_proj", query, a.q_lora_rank, Shard.COLUMN, "q_b_proj")
    else:
        tensors = blocks.linear(f"{p}.q_proj", query, hidden, Shard.COLUMN, "q_proj")
    latent = a.kv_lora_rank + a.qk_rope_head_dim
    down = DOWN if a.q_lora_rank else "kv_a_proj"
    tensors += blocks.linear(f"{p}.kv_a_proj_with_mqa", latent, hidden, Shard.REPLICATED, down)
    tensors += blocks.vector(f"{p}.kv_a_layernorm", a.kv_lora_rank)
    up = a.num_attention_heads * (a.qk_nope_head_dim + a.v_head_dim)
    tensors += blocks.linear(f"{p}.kv_b_proj", up, a.kv_lora_rank, Shard.COLUMN, "kv_b_proj")
    out = a.num_attention_heads * a.v_head_dim
    if gate:
        tensors += blocks.linear(f"{p}.g_proj", out, hidden, Shard.COLUMN, "g_proj")
    tensors += blocks.linear(f"{p}.o_proj", hidden, out, Shard.ROW, "o_proj")
    return tensors + _indexer(a, hidden)


def _indexer(a: Attention, hidden: int) -> blocks.Tensors:
    if not a.index_head_dim:
        return ()
    p, size = "self_attn.indexer", a.index_head_dim
    tensors = blocks.linear(
        f"{p}.wq_b", a.index_n_heads * size, a.q_lora_rank, Shard.REPLICATED, "indexer_q"
    )
    tensors += blocks.linear(f"{p}.wk", size, hidden, Shard.REPLICATED, "indexer_k")
    tensors += blocks.vector(f"{p}.k_norm", size, copies=2, dtype_bytes=blocks.FP32)
    return tensors + blocks.linear(
        f"{p}.weights_proj", a.index_n_heads, hidden, Shard.REPLICATED, "indexer_weights"
    )


def expert_style(config: Config) -> ExpertStyle:
    """Experts of DeepSeek's family; a correction bias where experts are chosen ``noaux_tc``."""
    corrected = config.text("topk_method", "greedy") == "noaux_tc"
    return ExpertStyle(score_bias=corrected)


def deepseek_layers(config: Config) -> tuple[Layer, ...]:
    """Every decoder layer of DeepSeek V2, V3, V3.2, Kimi K2, GLM 4.7 Flash and GLM 5, in order."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    kinds = config.texts("indexer_types", count) or ("full",) * count
    routed, style = moe(config), expert_style(config)
    norms = blocks.vector("layernorms", hidden, copies=2)
    size = config.integer("intermediate_size")
    dense, sparse = blocks.mlp(hidden, size), blocks.experts(routed, hidden, style)
    built: dict[tuple[str, bool], Layer] = {}
    for key in set(zip(kinds, sparse_layers(config), strict=True)):
        mixer = mla(config, indexer=key[0] == "full")
        tensors = mla_tensors(mixer, hidden) + norms
        built[key] = (
            Layer(mixer, routed, 0, tensors + sparse)
            if key[1]
            else Layer(mixer, None, size, tensors + dense)
        )
    return tuple(built[key] for key in zip(kinds, sparse_layers(config), strict=True))
