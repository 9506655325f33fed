"""Dense decoders: attention and one MLP a layer, in the variants of many families."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import Attention, Layer, LayerKind, Shard

Bias = Literal["no", "yes", "attention_bias", "use_qkv_bias", "bias", "mlp_bias"]


@dataclass(frozen=True, slots=True)
class DenseStyle:
    """What differs between families of dense decoders.

    ``norms`` counts norm vectors of hidden size a layer (a LayerNorm with bias is 2);
    ``qk_norm`` adds norms of query and key: per head (``head``), over all heads (``all``), or one a
    head (``heads``); ``window_every``: this many layers make a cycle whose last is full attention.
    """

    bias: Bias = "no"
    output_bias: Bias = "no"
    mlp_bias: Bias = "no"
    norms: int = 2
    final_norm: int = 1
    qk_norm: Literal["", "head", "all", "heads"] = ""
    qk_norm_key: str = ""
    tied: bool = False
    window_every: int = 1


LLAMA = DenseStyle(bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias")
STYLES: dict[str, DenseStyle] = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": DenseStyle(),
    "Ministral3ForCausalLM": DenseStyle(),
    "Qwen2ForCausalLM": DenseStyle(bias="yes"),
    "MiMoForCausalLM": DenseStyle(bias="yes"),
    "Qwen3ForCausalLM": replace(LLAMA, mlp_bias="no", qk_norm="head"),
    "Gemma2ForCausalLM": DenseStyle(norms=4, tied=True, window_every=2),
    "Gemma3ForCausalLM": DenseStyle(norms=4, tied=True, qk_norm="head", window_every=6),
    "Phi3ForCausalLM": DenseStyle(),
    "GraniteForCausalLM": LLAMA,
    "Olmo2ForCausalLM": replace(LLAMA, mlp_bias="no", qk_norm="all"),
    "Olmo3ForCausalLM": replace(LLAMA, mlp_bias="no", qk_norm="all", window_every=4),
    "SmolLM3ForCausalLM": LLAMA,
    "StableLmForCausalLM": DenseStyle(bias="use_qkv_bias", norms=4, final_norm=2),
    "InternLM2ForCausalLM": DenseStyle(bias="bias", output_bias="bias"),
    "BaichuanForCausalLM": DenseStyle(),
    "ChatGLMModel": DenseStyle(bias="yes"),
    "CohereForCausalLM": DenseStyle(norms=1, tied=True, qk_norm="heads", qk_norm_key="use_qk_norm"),
    "Cohere2ForCausalLM": DenseStyle(norms=1, tied=True, window_every=4),
}


def head_dim(config: Config) -> int:
    """Size of an attention head: ``head_dim`` or hidden_size / num_attention_heads."""
    if "head_dim" in config:
        return config.integer("head_dim")
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if hidden % heads:
        raise config.error("num_attention_heads", f"it must divide hidden_size = {hidden}")
    return hidden // heads


def windows(config: Config, cycle: int) -> tuple[int | None, ...]:
    """Sliding window of each layer, None = full attention. [tokens]

    ``layer_types`` decides where it is there; otherwise a window without a cycle holds for all
    layers, and with a cycle of n every n-th layer is full.
    """
    count = config.num_hidden_layers
    if "sliding_window" not in config or not config.flag("use_sliding_window", default=True):
        return (None,) * count
    window = config.integer("sliding_window")
    kinds = config.texts("layer_types", count)
    if kinds is not None:
        return tuple(window if kind == "sliding_attention" else None for kind in kinds)
    every = config.integer("sliding_window_pattern", default=cycle)
    return tuple(window if every == 1 or (i + 1) % every else None for i in range(count))


def gqa(config: Config, window: int | None = None) -> Attention:
    """Grouped-query attention with this config's heads."""
    heads = config.integer("num_attention_heads", "n_head")
    kv_heads = config.integer("num_key_value_heads", "num_kv_heads", default=heads, most=heads)
    if heads % kv_heads:
        raise config.error("num_key_value_heads", f"it must divide num_attention_heads = {heads}")
    size = head_dim(config)
    kind = LayerKind.FULL if window is None else LayerKind.SLIDING
    return Attention(kind, heads, kv_heads, size, size, window)


def qk_norms(a: Attention, style: Literal["", "head", "all", "heads"]) -> blocks.Tensors:
    """Norms of query and key."""
    if style == "head":
        return blocks.vector("self_attn.q_norm", a.head_dim) + blocks.vector(
            "self_attn.k_norm", a.head_dim
        )
    q, k = a.num_attention_heads * a.head_dim, a.num_key_value_heads * a.head_dim
    if style == "all":
        return blocks.vector("self_attn.q_norm", q) + blocks.vector("self_attn.k_norm", k)
    if style == "heads":
        return blocks.vector("self_attn.q_norm", q, Shard.COLUMN) + blocks.vector(
            "self_attn.k_norm", k
        )
    return ()


def has_bias(config: Config, rule: Bias) -> bool:
    """Whether a matrix has a bias: always, never, or as a key says."""
    return rule == "yes" or (rule != "no" and config.flag(rule))


def attention_tensors(config: Config, style: DenseStyle, a: Attention) -> blocks.Tensors:
    """Attention matrices and the norms of query and key, in a family's style."""
    tensors = blocks.attention(
        a,
        config.integer("hidden_size"),
        bias=has_bias(config, style.bias),
        output_bias=has_bias(config, style.output_bias),
    )
    if style.qk_norm_key and not config.flag(style.qk_norm_key):
        return tensors
    return tensors + qk_norms(a, style.qk_norm)


def dense_layers(config: Config, style: DenseStyle) -> tuple[Layer, ...]:
    """Every decoder layer of a dense model, in order."""
    hidden, size = config.integer("hidden_size"), config.integer("intermediate_size")
    mlp = blocks.mlp(hidden, size, bias=has_bias(config, style.mlp_bias))
    norms = blocks.vector("layernorms", hidden, copies=style.norms)
    built: dict[int | None, Layer] = {}
    for window in windows(config, style.window_every):
        if window not in built:
            mixer = gqa(config, window)
            tensors = attention_tensors(config, style, mixer) + mlp + norms
            built[window] = Layer(mixer, None, size, tensors)
    return tuple(built[window] for window in windows(config, style.window_every))
