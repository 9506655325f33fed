"""Tensors of the blocks that architectures share: attention, MLP, experts, norms, embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fitcalc.catalog.architectures.parts import Attention, Moe, Shard, Tensor, TensorKind

Tensors = tuple[Tensor, ...]
FP32 = 4


def linear(
    name: str, rows: int, cols: int, shard: Shard, gemm: str, *, bias: bool = False, heads: int = 0
) -> Tensors:
    """Return a matrix and, if it has one, its bias."""
    weight = Tensor(name, rows, cols, TensorKind.LINEAR, shard, gemm=gemm, heads=heads)
    if not bias:
        return (weight,)
    split = Shard.REPLICATED if shard is Shard.ROW else shard
    return weight, Tensor(f"{name}.bias", rows, 1, TensorKind.OTHER, split, heads=heads)


def vector(
    name: str, size: int, shard: Shard = Shard.REPLICATED, *, copies: int = 1, dtype_bytes: int = 0
) -> Tensors:
    """Return a small tensor of no GEMM: a norm, a decay, a sink. Nothing if its size is 0."""
    if not size * copies:
        return ()
    small = Tensor(
        name, size, 1, TensorKind.OTHER, shard, copies=copies, dtype_bytes=dtype_bytes
    )  # fmt: skip
    return (small,)


def attention(
    a: Attention,
    hidden: int,
    *,
    bias: bool = False,
    output_bias: bool = False,
    gate: bool = False,
    k_eq_v: bool = False,
    prefix: str = "self_attn",
) -> Tensors:
    """Query, key, value and output matrices.

    ``gate`` doubles the query; with ``k_eq_v`` the value is vLLM's copy of the key's matrix.
    """
    q = a.num_attention_heads * a.head_dim * (2 if gate else 1)
    k = a.num_key_value_heads * a.head_dim
    v = a.num_key_value_heads * a.v_head_dim
    heads = a.num_key_value_heads
    tensors = linear(f"{prefix}.q_proj", q, hidden, Shard.COLUMN, "qkv_proj", bias=bias)
    tensors += linear(f"{prefix}.k_proj", k, hidden, Shard.KV, "qkv_proj", bias=bias, heads=heads)
    value = linear(f"{prefix}.v_proj", v, hidden, Shard.KV, "qkv_proj", bias=bias, heads=heads)
    tensors += tuple(replace(t, duplicate=k_eq_v) for t in value)
    out = a.num_attention_heads * a.v_head_dim
    return tensors + linear(f"{prefix}.o_proj", hidden, out, Shard.ROW, "o_proj", bias=output_bias)


def mlp(
    hidden: int, size: int, *, gated: bool = True, bias: bool = False, prefix: str = "mlp"
) -> Tensors:
    """Return a dense MLP, with a gate (SwiGLU, GeGLU) or without."""
    if not size:
        return ()
    names = ("gate_proj", "up_proj") if gated else ("up_proj",)
    label = "gate_up_proj" if gated else "up_proj"
    if prefix.endswith("shared_experts"):
        label = f"shared_{label}"
    down = "shared_down_proj" if prefix.endswith("shared_experts") else "down_proj"
    tensors: Tensors = ()
    for name in names:
        tensors += linear(f"{prefix}.{name}", size, hidden, Shard.COLUMN, label, bias=bias)
    return tensors + linear(f"{prefix}.down_proj", hidden, size, Shard.ROW, down, bias=bias)


@dataclass(frozen=True, slots=True)
class ExpertStyle:
    """What differs between the expert blocks of architectures.

    ``latent``: width of the experts' input where it is projected down (0 = the hidden size);
    ``score_bias``: a correction per expert, in fp32; ``shared_gate``: a scalar gate on shared ones.
    """

    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    score_bias: bool = False
    shared_gate: bool = False
    latent: int = 0
    router_bytes: int = 0
    prefix: str = "mlp"


def experts(moe: Moe, hidden: int, style: ExpertStyle | None = None) -> Tensors:
    """Router, routed experts and shared experts of one layer."""
    s = style or ExpertStyle()
    width, size, count = s.latent or hidden, moe.moe_intermediate_size, moe.num_experts
    names = ("gate_proj", "up_proj") if s.gated else ("up_proj",)
    where = f"{s.prefix}.experts.0"
    tensors: Tensors = (
        Tensor(
            f"{s.prefix}.gate", count, hidden, TensorKind.ROUTER, Shard.REPLICATED,
            gemm="router", dtype_bytes=s.router_bytes,
        ),
    )  # fmt: skip
    if s.router_bias:
        tensors += vector(f"{s.prefix}.gate.bias", count)
    if s.score_bias:
        tensors += vector(f"{s.prefix}.gate.e_score_correction_bias", count, dtype_bytes=FP32)
    for name in names:
        tensors += _expert(f"{where}.{name}", size, width, Shard.COLUMN, count=count, bias=s.bias)
    tensors += _expert(f"{where}.down_proj", width, size, Shard.ROW, count=count, bias=s.bias)
    if s.latent:
        tensors += linear(
            f"{s.prefix}.fc1_latent_proj", s.latent, hidden, Shard.REPLICATED, "latent_in"
        )
        tensors += linear(
            f"{s.prefix}.fc2_latent_proj", hidden, s.latent, Shard.REPLICATED, "latent_out"
        )
    if moe.shared_intermediate_size:
        tensors += mlp(
            hidden, moe.shared_intermediate_size, gated=s.gated, prefix=f"{s.prefix}.shared_experts"
        )
        if s.shared_gate:
            tensors += linear(f"{s.prefix}.shared_expert_gate", 1, hidden, Shard.REPLICATED, "")
    return tensors


def _expert(name: str, rows: int, cols: int, shard: Shard, *, count: int, bias: bool) -> Tensors:
    label = "experts_down" if shard is Shard.ROW else "experts_gate_up"
    tensors: Tensors = (
        Tensor(name, rows, cols, TensorKind.EXPERT, shard, experts=count, gemm=label),
    )
    if bias:
        split = Shard.REPLICATED if shard is Shard.ROW else shard
        tensors += (
            Tensor(f"{name}.bias", rows, 1, TensorKind.EXPERT, split, experts=count),
        )  # fmt: skip
    return tensors


def embeddings(
    vocab: int, hidden: int, *, tied: bool, head_bias: bool = False, norm: int = 1
) -> Tensors:
    """Input embedding, final norm (``norm`` vectors), and the output head unless it is tied."""
    tensors: Tensors = (
        Tensor("embed_tokens", vocab, hidden, TensorKind.EMBEDDING, Shard.VOCAB),
        *vector("norm", hidden, copies=norm),
    )
    if not tied:
        tensors += (
            Tensor("lm_head", vocab, hidden, TensorKind.LM_HEAD, Shard.VOCAB, gemm="lm_head"),
        )
    if head_bias:
        tensors += (Tensor("lm_head.bias", vocab, 1, TensorKind.OTHER, Shard.VOCAB),)
    return tensors


def table(name: str, rows: int, cols: int) -> Tensors:
    """Return an embedding besides the input's."""
    return (Tensor(name, rows, cols, TensorKind.EMBEDDING, Shard.VOCAB),)
