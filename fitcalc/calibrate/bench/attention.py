"""Attention with grouped heads: one new token over a long KV cache, and whole prompts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch.nn.functional import scaled_dot_product_attention

from fitcalc.calibrate.bench.case import Case, Family, grid, nothing_missing, timed
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call
from fitcalc.catalog.model import load_model

HALF_BYTES = 2.0
HEAD_DIM = 128
KV_DTYPE = "bfloat16"
PROMPT_BATCHES = (1, 4)
MOST_PROMPT_TOKENS = 32768
"""Prompt tokens of one call: beyond them a prompt is served in chunks anyway."""


def heads(models: tuple[tuple[str, int], ...]) -> list[tuple[int, int]]:
    """Return query and KV heads of one rank of these models, each once."""
    loaded = ((load_model(name), tp) for name, tp in models)
    found = (
        (model.num_attention_heads // tp, max(1, model.num_key_value_heads // tp))
        for model, tp in loaded
    )
    return list(dict.fromkeys(found))


def decode(device: Device, batch: int, ctx: int, num_heads: int, kv_heads: int) -> Call:
    """Attend with one token a sequence; the cache lies as vLLM's does, heads innermost."""
    query = device.random(batch, num_heads, 1, HEAD_DIM)
    keys, values = (device.random(batch, ctx, kv_heads, HEAD_DIM).transpose(1, 2) for _ in "kv")
    return partial(scaled_dot_product_attention, query, keys, values, enable_gqa=True)


def prefill(device: Device, batch: int, isl: int, num_heads: int, kv_heads: int) -> Call:
    """Attend within whole prompts under the causal mask."""
    query = device.random(batch, isl, num_heads, HEAD_DIM).transpose(1, 2)
    keys, values = (device.random(batch, isl, kv_heads, HEAD_DIM).transpose(1, 2) for _ in "kv")
    return partial(
        scaled_dot_product_attention, query, keys, values, is_causal=True, enable_gqa=True
    )


def decodes(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield every pair of heads, batch and context whose cache has room."""
    for num_heads, kv_heads in heads(sizes.models):
        for stage, batch, ctx in grid(sizes.batches, sizes.contexts):
            size = 2.0 * HALF_BYTES * batch * ctx * kv_heads * HEAD_DIM
            if size <= min(sizes.largest, device.room_bytes):
                cells = {"batch_size": batch, "ctx": ctx, **_heads(num_heads, kv_heads)}
                build = partial(decode, device, batch, ctx, num_heads, kv_heads)
                yield Case("attn_decode", cells, stage, timed(device, size, build))


def prefills(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield every pair of heads and length of prompt, alone and a few together."""
    for num_heads, kv_heads in heads(sizes.models):
        for stage, batch, isl in grid(PROMPT_BATCHES, sizes.prompts):
            if batch * isl <= min(MOST_PROMPT_TOKENS, batch * sizes.prompts[-1]):
                size = 2.0 * HALF_BYTES * batch * isl * (num_heads + kv_heads) * HEAD_DIM
                cells = {"batch_size": batch, "isl": isl, **_heads(num_heads, kv_heads)}
                build = partial(prefill, device, batch, isl, num_heads, kv_heads)
                yield Case("attn_prefill", cells, stage, timed(device, size, build))


def _heads(num_heads: int, kv_heads: int) -> dict[str, str | int]:
    return {
        "num_heads": num_heads, "kv_heads": kv_heads, "head_dim": HEAD_DIM, "kv_dtype": KV_DTYPE,
    }  # fmt: skip


DECODE = Family("attention_decode", decodes, nothing_missing)
PREFILL = Family("attention_prefill", prefills, nothing_missing)
