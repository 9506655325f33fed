"""Decoders that mix attention with recurrent layers."""

from __future__ import annotations

from dataclasses import replace

from fitcalc.catalog.architectures import blocks, state
from fitcalc.catalog.architectures.blocks import ExpertStyle
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.dense import gqa, qk_norms
from fitcalc.catalog.architectures.moe import moe
from fitcalc.catalog.architectures.parts import Attention, Layer, State

QWEN_EXPERTS = ExpertStyle(shared_gate=True)


def qwen_attention(config: Config) -> tuple[Attention, blocks.Tensors]:
    """Full attention of Qwen3-Next and Qwen3.5: gated output, normed query and key."""
    mixer, hidden = gqa(config), config.integer("hidden_size")
    tensors = blocks.attention(mixer, hidden, bias=config.flag("attention_bias"), gate=True)
    return mixer, tensors + qk_norms(mixer, "head")


def qwen_next_layers(config: Config) -> tuple[Layer, ...]:
    """Qwen3-Next and Qwen3.5: gated delta nets with a full-attention layer every few."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    every = config.integer("full_attention_interval", default=4)
    kinds = config.texts("layer_types", count) or tuple(
        "linear_attention" if (i + 1) % every else "full_attention" for i in range(count)
    )
    norms = blocks.vector("layernorms", hidden, copies=2)
    mixers: dict[str, tuple[State | Attention, blocks.Tensors]] = {
        "linear_attention": state.gdn(config),
        "full_attention": qwen_attention(config),
    }
    for kind in set(kinds) - set(mixers):
        raise config.error("layer_types", f"{kind!r} is not a layer of this architecture")
    if "num_experts" in config:
        routed = moe(config)
        mlp, size = blocks.experts(routed, hidden, QWEN_EXPERTS), 0
    else:
        routed, size = None, config.integer("intermediate_size")
        mlp = blocks.mlp(hidden, size)
    built = {
        kind: Layer(mixer, routed, size, tensors + norms + mlp)
        for kind, (mixer, tensors) in mixers.items()
    }
    return tuple(built[kind] for kind in kinds)


_NEMOTRON = {"M": "mamba", "-": "mlp", "*": "attention", "E": "moe"}


def nemotron_style(config: Config) -> ExpertStyle:
    """Experts of Nemotron 3: no gate, a correction bias, a latent input in the larger ones."""
    latent = config.integer("moe_latent_size", default=0, least=0)
    return ExpertStyle(
        gated=False, score_bias=True, latent=latent, router_bytes=blocks.FP32, prefix="mixer"
    )


def nemotron_layer(config: Config, kind: str) -> Layer:
    """One layer of Nemotron-H: a Mamba-2 mixer, attention, an MLP or experts, and one norm."""
    hidden = config.integer("hidden_size")
    norm = blocks.vector("norm", hidden)
    if kind == "mamba":
        mixer, tensors = state.mamba2(
            config,
            heads=config.integer("mamba_num_heads"),
            size=config.integer("mamba_head_dim"),
            groups=config.integer("n_groups"),
            state=config.integer("ssm_state_size"),
            kernel=config.integer("conv_kernel"),
        )
        return Layer(mixer, None, 0, tensors + norm)
    if kind == "attention":
        heads = gqa(config)
        if "attention_head_dim" in config and "head_dim" not in config:
            size = config.integer("attention_head_dim")
            heads = replace(heads, head_dim=size, v_head_dim=size)
        return Layer(heads, None, 0, blocks.attention(heads, hidden, prefix="mixer") + norm)
    if kind == "moe":
        routed = moe(config)
        return Layer(None, routed, 0, blocks.experts(routed, hidden, nemotron_style(config)) + norm)
    size = config.integer("intermediate_size")
    return Layer(None, None, size, blocks.mlp(hidden, size, gated=False, prefix="mixer") + norm)


def nemotron_layers(config: Config) -> tuple[Layer, ...]:
    """Nemotron-H, Nemotron Nano 2 and Nemotron 3, by the pattern of their config."""
    count = config.num_hidden_layers
    kinds = config.texts("layers_block_type", count)
    if kinds is None:
        pattern = config.text("hybrid_override_pattern")
        if len(pattern) != count or set(pattern) - set(_NEMOTRON):
            raise config.error(
                "hybrid_override_pattern", f"give {count} letters of M, -, * and E, one a layer"
            )
        kinds = tuple(_NEMOTRON[letter] for letter in pattern)
    if set(kinds) - set(_NEMOTRON.values()):
        raise config.error("layers_block_type", "use mamba, mlp, attention and moe")
    built = {kind: nemotron_layer(config, kind) for kind in set(kinds)}
    return tuple(built[kind] for kind in kinds)


def jamba_layers(config: Config) -> tuple[Layer, ...]:
    """Jamba: Mamba-1 with attention every few layers, experts every other."""
    hidden, size = config.integer("hidden_size"), config.integer("intermediate_size")
    attention_at = (config.integer("attn_layer_offset", least=0),
                    config.integer("attn_layer_period"))  # fmt: skip
    experts_at = (config.integer("expert_layer_offset", least=0),
                  config.integer("expert_layer_period"))  # fmt: skip
    heads, routed = gqa(config), moe(config)
    norms = blocks.vector("layernorms", hidden, copies=2)
    sparse = blocks.experts(routed, hidden, ExpertStyle(prefix="feed_forward"))
    dense = blocks.mlp(hidden, size, prefix="feed_forward")
    recurrent: tuple[State | Attention, blocks.Tensors] = state.mamba1(config)
    attends: tuple[State | Attention, blocks.Tensors] = (heads, blocks.attention(heads, hidden))

    def layer(i: int) -> Layer:
        mixer, tensors = attends if i % attention_at[1] == attention_at[0] else recurrent
        if i % experts_at[1] == experts_at[0]:
            return Layer(mixer, routed, 0, tensors + norms + sparse)
        return Layer(mixer, None, size, tensors + norms + dense)

    return tuple(layer(i) for i in range(config.num_hidden_layers))


def granite_hybrid_layers(config: Config) -> tuple[Layer, ...]:
    """Granite 4: Mamba-2 or attention, each with experts and a shared MLP."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    kinds = config.texts("layer_types", count)
    if kinds is None:
        raise config.error("layer_types", "add this key, as the model's config.json has it")
    inner = config.integer("mamba_expand", default=2) * hidden
    heads = config.integer("mamba_n_heads")
    mamba = state.mamba2(
        config,
        heads=heads,
        size=inner // heads,
        groups=config.integer("mamba_n_groups"),
        state=config.integer("mamba_d_state"),
        kernel=config.integer("mamba_d_conv"),
    )
    attends = gqa(config)
    shared = config.integer("shared_intermediate_size")
    tensors = blocks.vector("layernorms", hidden, copies=2)
    tensors += blocks.mlp(hidden, shared, prefix="shared_experts")
    routed = None
    if config.integer("num_local_experts", default=0, least=0):
        routed = replace(moe(config), shared_intermediate_size=shared)
        only_routed = replace(routed, shared_intermediate_size=0)
        tensors += blocks.experts(only_routed, hidden, ExpertStyle(prefix="block_sparse_moe"))
    attention = Layer(attends, routed, 0, blocks.attention(attends, hidden) + tensors)
    recurrent = Layer(mamba[0], routed, 0, mamba[1] + tensors)
    return tuple(recurrent if kind == "mamba" else attention for kind in kinds)


def minimax_m1_layers(config: Config) -> tuple[Layer, ...]:
    """MiniMax M1: lightning attention with a full-attention layer every eighth."""
    count, hidden = config.num_hidden_layers, config.integer("hidden_size")
    kinds = config.integers("attn_type_list", count)
    if kinds is None:
        raise config.error("attn_type_list", "add this key, as the model's config.json has it")
    heads, routed = gqa(config), moe(config)
    tensors = blocks.vector("layernorms", hidden, copies=2)
    tensors += blocks.experts(routed, hidden, ExpertStyle(prefix="block_sparse_moe"))
    linear = state.lightning(config, heads.num_attention_heads, heads.head_dim)
    full = Layer(heads, routed, 0, blocks.attention(heads, hidden) + tensors)
    recurrent = Layer(linear[0], routed, 0, linear[1] + tensors)
    return tuple(full if kind else recurrent for kind in kinds)
