"""Recurrent mixers: their tensors, and the state a sequence keeps, as vLLM allocates it.

State shapes follow vLLM 0.33.0, model_executor/layers/mamba/mamba_utils.py; every shape is of one
sequence before tensor parallelism and without speculative tokens.
"""

from __future__ import annotations

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import Shard, State, StateKind, StateShape

HALF = 2


def state_bytes(config: Config) -> int:
    """Bytes of a recurrent state's element: fp32 where the config says so, and in Nemotron-H.

    Source: vLLM 0.33.0, model_executor/models/config.py, ``NemotronHForCausalLMConfig``.
    """
    plain = "float32" if config.text("model_type", "") == "nemotron_h" else "model"
    name = config.text("mamba_ssm_cache_dtype", config.text("mamba_ssm_dtype", plain))
    return blocks.FP32 if name == "float32" else HALF


def gdn(config: Config) -> tuple[State, blocks.Tensors]:
    """Gated delta net of Qwen3-Next and Qwen3.5."""
    hidden, kernel = config.integer("hidden_size"), config.integer("linear_conv_kernel_dim")
    nk, nv = config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")
    dk, dv = config.integer("linear_key_head_dim"), config.integer("linear_value_head_dim")
    key, value = nk * dk, nv * dv
    p = "linear_attn"
    tensors = blocks.linear(f"{p}.in_proj_qkvz", 2 * key + 2 * value, hidden, Shard.COLUMN,
                            "gdn_in_proj")  # fmt: skip
    tensors += blocks.linear(f"{p}.in_proj_ba", 2 * nv, hidden, Shard.COLUMN, "gdn_in_proj_ba")
    tensors += blocks.vector(f"{p}.conv1d", (2 * key + value) * kernel, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.dt_bias", nv, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.A_log", nv, Shard.COLUMN, dtype_bytes=blocks.FP32)
    tensors += blocks.vector(f"{p}.norm", dv)
    tensors += blocks.linear(f"{p}.out_proj", hidden, value, Shard.ROW, "gdn_out_proj")
    shapes = (
        StateShape("conv", (2 * key + value, kernel - 1), HALF),
        StateShape("ssm", (nv, dv, dk), state_bytes(config)),
    )
    return State(StateKind.GDN, nv, dv, dk, kernel, shapes, num_key_heads=nk), tensors


def mamba2(
    config: Config, *, heads: int, size: int, groups: int, state: int, kernel: int
) -> tuple[State, blocks.Tensors]:
    """Mamba-2 mixer of Nemotron-H and Granite 4."""
    hidden, inner = config.integer("hidden_size"), heads * size
    conv = inner + 2 * groups * state
    bias = config.flag("use_bias") or config.flag("mamba_proj_bias")
    p = "mixer"
    tensors = blocks.linear(f"{p}.in_proj", inner + conv + heads, hidden, Shard.COLUMN,
                            "mamba_in_proj", bias=bias)  # fmt: skip
    tensors += blocks.vector(f"{p}.conv1d", conv * kernel, Shard.COLUMN)
    if config.flag("use_conv_bias", default=True):
        tensors += blocks.vector(f"{p}.conv1d.bias", conv, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.A_log", heads, Shard.COLUMN, dtype_bytes=blocks.FP32)
    tensors += blocks.vector(f"{p}.D", heads, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.dt_bias", heads, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.norm", inner, Shard.COLUMN)
    tensors += blocks.linear(f"{p}.out_proj", hidden, inner, Shard.ROW, "mamba_out_proj", bias=bias)
    shapes = (
        StateShape("conv", (conv, kernel - 1), HALF),
        StateShape("ssm", (heads, size, state), state_bytes(config)),
    )
    return (
        State(StateKind.MAMBA2, heads, size, state, kernel, shapes, num_groups=groups),
        tensors,
    )


def mamba1(config: Config) -> tuple[State, blocks.Tensors]:
    """Mamba-1 mixer of Jamba."""
    hidden, state = config.integer("hidden_size"), config.integer("mamba_d_state")
    kernel, rank = config.integer("mamba_d_conv"), config.integer("mamba_dt_rank")
    inner = config.integer("mamba_expand") * hidden
    p = "mamba"
    tensors = blocks.linear(f"{p}.in_proj", 2 * inner, hidden, Shard.COLUMN, "mamba_in_proj")
    tensors += blocks.vector(f"{p}.conv1d", inner * kernel, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.conv1d.bias", inner, Shard.COLUMN)
    tensors += blocks.linear(f"{p}.x_proj", rank + 2 * state, inner, Shard.ROW, "mamba_x_proj")
    tensors += blocks.linear(f"{p}.dt_proj", inner, rank, Shard.COLUMN, "mamba_dt_proj", bias=True)
    tensors += blocks.vector(f"{p}.A_log", inner * state, Shard.COLUMN, dtype_bytes=blocks.FP32)
    tensors += blocks.vector(f"{p}.D", inner, Shard.COLUMN)
    tensors += blocks.vector(f"{p}.dt_bc_layernorm", rank + 2 * state)
    tensors += blocks.linear(f"{p}.out_proj", hidden, inner, Shard.ROW, "mamba_out_proj")
    shapes = (
        StateShape("conv", (inner, kernel - 1), HALF),
        StateShape("ssm", (inner, state), state_bytes(config)),
    )
    return State(StateKind.MAMBA1, inner, 1, state, kernel, shapes), tensors


def lightning(config: Config, heads: int, size: int) -> tuple[State, blocks.Tensors]:
    """Lightning attention of MiniMax M1."""
    hidden, inner = config.integer("hidden_size"), heads * size
    p = "self_attn"
    tensors = blocks.linear(f"{p}.qkv_proj", 3 * inner, hidden, Shard.COLUMN, "qkv_proj")
    tensors += blocks.linear(f"{p}.output_gate", inner, hidden, Shard.COLUMN, "output_gate")
    tensors += blocks.vector(f"{p}.norm", inner, Shard.COLUMN)
    tensors += blocks.linear(f"{p}.out_proj", hidden, inner, Shard.ROW, "o_proj")
    shapes = (StateShape("kv", (heads, size, size), HALF),)
    return State(StateKind.LIGHTNING, heads, size, size, 0, shapes), tensors
