"""A whole small Llama with random weights: the end-to-end check of all laws together.

Plain torch calls, as one CUDA graph where there is one: in each layer 4 matrix products, attention
and 13 kernels that move bytes (2 norms, 5 for the rotary embedding, 2 for the cache, 2 for the
activation, 2 adds); around the layers the embedding, a norm, the head and argmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch.nn.functional import embedding, linear, rms_norm, scaled_dot_product_attention, silu

from fitcalc.calibrate.bench.attention import KV_DTYPE
from fitcalc.calibrate.bench.case import Case, Family, grid, nothing_missing, timed
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cell, Cells
from fitcalc.calibrate.bench.sizes import Sizes, Stack
from fitcalc.calibrate.bench.timing import Call

HALF_BYTES = 2.0
PROMPTS = (1,)
"""Prompts of one prefill step."""
INIT = 0.02
"""Spread of the random weights, as Llama's are initialized: activations stay of order 1."""


class Layer(NamedTuple):
    """Weights and KV cache of one decoder layer."""

    norm: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class Model(NamedTuple):
    """All weights, and the rotary embedding's cosines and sines of the step's positions."""

    shape: Stack
    layers: tuple[Layer, ...]
    table: torch.Tensor
    norm: torch.Tensor
    head: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor


def lay_out(device: Device, shape: Stack, batch: int, ctx: int, tokens: int) -> Model:
    """Lay out a model whose cache holds ctx tokens, the step's own included."""
    hidden, heads = shape.hidden_size, shape.num_heads + 2 * shape.kv_heads

    def weight(rows: int, cols: int) -> torch.Tensor:
        return device.random(rows, cols).mul_(INIT)

    def cache() -> torch.Tensor:
        return device.random(batch, ctx, shape.kv_heads, shape.head_dim)

    layers = tuple(
        Layer(
            norm=device.random(hidden),
            qkv=weight(heads * shape.head_dim, hidden),
            out=weight(hidden, shape.num_heads * shape.head_dim),
            mlp_norm=device.random(hidden),
            gate_up=weight(2 * shape.intermediate_size, hidden),
            down=weight(hidden, shape.intermediate_size),
            keys=cache(),
            values=cache(),
        )
        for _ in range(shape.num_hidden_layers)
    )
    vocab = (shape.vocab_size, hidden)
    turns = (device.random(tokens, 1, shape.head_dim) for _ in range(2))
    return Model(shape, layers, weight(*vocab), device.random(hidden), weight(*vocab), *turns)


def forward(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Run the last tokens of each sequence through the model; return the next ones."""
    x = embedding(ids, model.table)
    for layer in model.layers:
        x = x + _attend(model, layer, rms_norm(x, x.shape[-1:], layer.norm))
        gate_up = linear(rms_norm(x, x.shape[-1:], layer.mlp_norm), layer.gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        x = x + linear(silu(gate) * up, layer.down)
    last = rms_norm(x[:, -1], x.shape[-1:], model.norm)
    return linear(last, model.head).argmax(dim=-1)


def _attend(model: Model, layer: Layer, x: torch.Tensor) -> torch.Tensor:
    shape, (batch, tokens, _) = model.shape, x.shape
    qkv = linear(x, layer.qkv).view(batch, tokens, -1, shape.head_dim)
    rotated = rotate(qkv[:, :, : -shape.kv_heads], model.cos, model.sin)
    query, keys = rotated.split([shape.num_heads, shape.kv_heads], dim=2)
    layer.keys[:, -tokens:] = keys
    layer.values[:, -tokens:] = qkv[:, :, -shape.kv_heads :]
    attended = scaled_dot_product_attention(
        query.transpose(1, 2),
        layer.keys.transpose(1, 2),
        layer.values.transpose(1, 2),
        is_causal=tokens > 1,
        enable_gqa=True,
    )
    return linear(attended.transpose(1, 2).reshape(batch, tokens, -1), layer.out)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn queries and keys by their positions (J. Su et al., RoFormer, 2021)."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


def step(device: Device, shape: Stack, batch: int, ctx: int, tokens: int) -> Call:
    """Lay out a model and return one step of it."""
    model = lay_out(device, shape, batch, ctx, tokens)
    ids = torch.arange(batch * tokens, device=device.place).view(batch, tokens) % shape.vocab_size
    return partial(forward, model, ids)


def cases(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield decode steps of every batch and context, and prefills of whole prompts."""
    shape = sizes.stack
    names: dict[str, Cell] = {
        "dtype": "bfloat16", "kv_dtype": KV_DTYPE, "num_hidden_layers": shape.num_hidden_layers,
        "hidden_size": shape.hidden_size, "intermediate_size": shape.intermediate_size,
        "vocab_size": shape.vocab_size, "num_heads": shape.num_heads, "kv_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
    }  # fmt: skip
    decode = [(*found, 1, "decode") for found in grid(sizes.stack_batches, sizes.stack_contexts)]
    prefill = [(s, b, ctx, ctx, "prefill") for s, b, ctx in grid(PROMPTS, sizes.stack_contexts)]
    for stage, batch, ctx, tokens, phase in (*decode, *prefill):
        size = stack_bytes(shape, batch, ctx)
        if size <= device.room_bytes:
            cells: Cells = {**names, "phase": phase, "batch_size": batch, "ctx": ctx}
            build = partial(step, device, shape, batch, ctx, tokens)
            yield Case("stack", cells, stage, timed(device, size, build))


def stack_bytes(shape: Stack, batch: int, ctx: int) -> float:
    """Weights and KV cache. [B]

    Examples:
        >>> round(stack_bytes(Stack(32, 4096, 14336, 128256, 32, 8), 0, 0) / 2e9, 2)
        8.03
    """
    heads = 2 * (shape.num_heads + shape.kv_heads) * shape.head_dim
    layer = shape.hidden_size * (heads + 3 * shape.intermediate_size)
    cached = 2 * batch * ctx * shape.kv_heads * shape.head_dim
    per_layer = shape.num_hidden_layers * (layer + cached)
    return HALF_BYTES * (per_layer + 2 * shape.vocab_size * shape.hidden_size)


STACK = Family("stack", cases, nothing_missing)
