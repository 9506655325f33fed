"""Routed experts: two grouped products over the experts touched, with gather and weighted sum."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch.nn.functional import silu

from fitcalc.calibrate.bench.case import Case, Family, grid, timed
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cells
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call
from fitcalc.catalog.model import LlmModel, TensorKind, load_model
from fitcalc.physics.splits import gemms

HALF_BYTES = 2.0
GROUPED_CAPABILITY = 9.0
"""Below it ``torch._grouped_mm`` is a loop that waits for the host
(aten/src/ATen/native/cuda/GroupedBlas.cpp)."""


class Experts(NamedTuple):
    """A layer's routed experts: widths of the residual and of an expert, experts a token, all."""

    hidden: int
    inter: int
    topk: int
    number: int


def call(device: Device, tokens: int, experts: Experts) -> Call:
    """Send tokens to experts in turn, so that all are equally loaded, and sum what comes back."""
    hidden, inter, topk, number = experts
    chosen = torch.arange(tokens * topk, device=device.place) % number
    source = torch.argsort(chosen, stable=True) // topk
    ends = torch.bincount(chosen, minlength=number).cumsum(0).to(torch.int32)
    x = device.random(tokens, hidden)
    weight = device.random(tokens * topk, 1)
    gate_up = device.random(number, 2 * inter, hidden).transpose(1, 2)
    down = device.random(number, hidden, inter).transpose(1, 2)
    grouped = torch._grouped_mm  # noqa: SLF001 - the public name is newer than the torch we allow

    def run() -> torch.Tensor:
        gate, up = grouped(x[source], gate_up, offs=ends).chunk(2, dim=-1)
        back = grouped(silu(gate) * up, down, offs=ends) * weight
        return torch.zeros_like(x).index_add_(0, source, back)

    return run


def cases(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield every model's experts and number of tokens."""
    if missing(device) is not None:
        return
    models = [load_model(name) for name in sizes.expert_models]
    for stage, model, tokens in grid(models, sizes.expert_rows):
        experts = experts_of(model)
        hidden, inter, topk, number = experts
        touched = min(number, tokens * topk)
        stored = 3.0 * HALF_BYTES * hidden * inter * number
        if stored <= device.room_bytes:
            cells: Cells = {
                "moe_dtype": "bfloat16", "num_tokens": tokens, "hidden_size": hidden,
                "inter_size": inter, "topk": topk, "num_experts": number, "moe_tp_size": 1,
                "moe_ep_size": 1, "distribution": "balanced",
            }  # fmt: skip
            build = partial(call, device, tokens, experts)
            read = stored * touched / number
            measure = timed(device, read, build, held_bytes=stored)
            yield Case("moe", cells, stage, measure)


def experts_of(model: LlmModel) -> Experts:
    """Return the experts of a model's first layer that has any."""
    layer = next(layer for layer in model.layers if layer.moe is not None)
    assert layer.moe is not None  # noqa: S101 - it was looked for
    products = gemms(model).layers[model.layers.index(layer)]
    down = next(g for g in products if g.kind is TensorKind.EXPERT and g.n == model.hidden_size)
    routed = layer.moe
    return Experts(model.hidden_size, int(down.k), routed.num_experts_per_tok, routed.num_experts)


def missing(device: Device) -> str | None:
    """Whether torch and the GPU have grouped products."""
    if not hasattr(torch, "_grouped_mm"):
        return "this torch has no grouped products"
    if device.is_cuda and device.capability < GROUPED_CAPABILITY:
        return "grouped products need compute capability 9.0"
    return None


EXPERTS = Family("moe", cases, missing)
