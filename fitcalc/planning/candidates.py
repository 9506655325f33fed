"""Every configuration that could serve: layouts and formats that run and fit, GPU by GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Limit, Rejection
from fitcalc.catalog.formats import (
    KvFormat,
    WeightFormat,
    load_kv_format,
    load_weight_format,
)
from fitcalc.catalog.gpu import Gpu, Vendor
from fitcalc.catalog.model import LayerKind, LlmModel
from fitcalc.catalog.overheads import load_overheads
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.build import step_model
from fitcalc.physics.kv_cache import KvLayout, kv_bytes_per_request, kv_layout, needed_bytes
from fitcalc.physics.memory import kv_budget_bytes
from fitcalc.physics.overheads import GpuColumns, gpu_columns
from fitcalc.physics.splits import divisibility
from fitcalc.physics.step import StepModel
from fitcalc.physics.weights import Card, Parallel, rank_weight_bytes
from fitcalc.planning.choice import RejectedChoice
from fitcalc.planning.setup import own_formats, reach, unsupported
from fitcalc.units import GIB, Array, Values

Rows = NDArray[np.intp]

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
PIPELINE_PARALLEL_SIZES = (2, 3, 4, 6, 8)
TOKEN_BUDGETS = (1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
"""Values of max_num_batched_tokens that are tried. [tokens]"""
SLOTS = (64.0, 256.0, 1024.0)
"""Values of max_num_seqs that are tried. [1]"""
FORMATS = ("fp8", "awq_int4", "nvfp4")
"""Formats tried beside the checkpoint's own where that is in 16 bits."""
KV_FORMATS = ("bf16", "fp8")


@dataclass(frozen=True, slots=True)
class Block:
    """GPUs under one layout and format: one row a GPU.

    Attributes:
        split: Tensor and pipeline parallelism.
        weight: Format of the weights.
        kv: Format of the KV cache.
        engine: Settings that the rows share.
        gpus: The GPUs that can start, one a row.
        columns: Their figures side by side.
        stage_weights: Weights of a rank on each pipeline stage. [B]
        layout: The KV cache's layout.
        request_bytes: KV bytes that a running request holds on average. [B]
        step: Step times, a row a GPU.
    """

    split: Parallel
    weight: WeightFormat
    kv: KvFormat
    engine: ResolvedEngine
    gpus: tuple[Gpu, ...]
    columns: GpuColumns
    stage_weights: tuple[float, ...]
    layout: KvLayout
    request_bytes: float
    step: StepModel


def weight_formats(model: LlmModel, wanted: Sequence[str] | None) -> tuple[WeightFormat, ...]:
    """Return the formats to try: those asked for, else the checkpoint's own, else 16 bits and up.

    Raises:
        UnknownName: no such format.
    """
    if wanted:
        found = [load_weight_format(name) for name in wanted]
        own = model.quantization
        same = {"fp8": "fp8_block"}
        if own is not None:
            found = [
                load_weight_format(own.format) if same.get(f.id) == own.format else f for f in found
            ]
        return tuple(dict.fromkeys(found))
    if model.quantization is not None:
        return (load_weight_format(model.quantization.format),)
    return tuple(load_weight_format(name) for name in (*own_formats(model), *FORMATS))


def kv_formats(model: LlmModel, asked: str) -> tuple[KvFormat, ...]:
    """Return the KV formats to try: the one asked for, else 16 bits and fp8."""
    own = model.quantization.kv_format if model.quantization else None
    if asked != "auto":
        return (load_kv_format(asked),)
    return tuple(load_kv_format(name) for name in ((own,) if own else KV_FORMATS))


def candidates(
    model: LlmModel,
    gpus: Sequence[Gpu],
    weights: Sequence[WeightFormat],
    kvs: Sequence[KvFormat],
    engine: EngineArgs,
    held_tokens: float,
    max_gpus: int | None = None,
) -> tuple[list[Block], list[RejectedChoice]]:
    """Return every layout and format that starts, and why the others do not.

    Args:
        model: The model.
        gpus: GPU types to try.
        weights: Weight formats to try.
        kvs: KV formats to try.
        engine: Settings that every candidate keeps.
        held_tokens: Tokens a running request holds on average. [tokens]
        max_gpus: Most GPUs of one replica.
    """
    blocks: list[Block] = []
    lost: list[RejectedChoice] = []
    most = max_gpus or np.inf
    for weight in weights:
        for kv in kvs:
            able, refused = _able(gpus, weight, kv)
            lost += refused
            found: set[str] = set()
            for tp in TENSOR_PARALLEL_SIZES:
                inside = [g for g in able if tp <= reach(g) and tp <= most]
                fresh, out = _blocks(model, inside, weight, kv, Parallel(tp), engine, held_tokens)
                blocks += fresh
                lost += out
                found |= {g.id for block in fresh for g in block.gpus}
            for pp in PIPELINE_PARALLEL_SIZES:
                outside = [g for g in able if g.id not in found and g.gpus_per_node > 1]
                for tp in sorted({min(g.gpus_per_node, 8) for g in outside}):
                    some = [g for g in outside if min(g.gpus_per_node, 8) == tp and tp * pp <= most]
                    split = Parallel(tp, pp)
                    fresh, out = _blocks(model, some, weight, kv, split, engine, held_tokens)
                    blocks += fresh
                    lost += out
                    found |= {g.id for block in fresh for g in block.gpus}
    return blocks, lost


def _able(
    gpus: Sequence[Gpu], weight: WeightFormat, kv: KvFormat
) -> tuple[list[Gpu], list[RejectedChoice]]:
    """GPUs that run both formats, and why the others do not."""
    able, lost = [], []
    for gpu in gpus:
        no = unsupported(weight, kv, gpu)
        if no is None:
            able.append(gpu)
        else:
            lost.append(rejected(gpu.id, Parallel(), weight.id, kv.id, no))
    return able, lost


def rejected(gpu: str, split: Parallel, weight: str, kv: str, no: Rejection) -> RejectedChoice:
    """Say which configuration a rejection is about."""
    return RejectedChoice(
        gpu=gpu,
        tensor_parallel_size=split.tp,
        pipeline_parallel_size=split.pp,
        weight_format=weight,
        kv_cache_dtype=kv,
        limit=no.limit,
        needed=no.needed,
        available=no.available,
        reason=no.reason,
    )


def _families(model: LlmModel, weight: WeightFormat, gpus: Iterable[Gpu]) -> list[list[Gpu]]:
    """GPUs whose layouts and paddings are equal: all, unless the model's depend on the card."""
    layouts = any(layer.kind is LayerKind.MLA for layer in model.layers)
    if not (layouts or weight.experts_only):
        return [list(gpus)]
    sorted_out: dict[tuple[float, bool], list[Gpu]] = {}
    for gpu in gpus:
        sorted_out.setdefault((gpu.capability, gpu.vendor is Vendor.AMD), []).append(gpu)
    return list(sorted_out.values())


def _blocks(
    model: LlmModel,
    gpus: Sequence[Gpu],
    weight: WeightFormat,
    kv: KvFormat,
    split: Parallel,
    engine: EngineArgs,
    held_tokens: float,
) -> tuple[list[Block], list[RejectedChoice]]:
    """Return one block for each family of GPUs that can start in this layout."""
    if not gpus:
        return [], []
    no = divisibility(model, weight, tp=split.tp, pp=split.pp)
    if no is not None:
        return [], [rejected(g.id, split, weight.id, kv.id, no) for g in gpus]
    blocks, lost = [], []
    for family in _families(model, weight, gpus):
        block, out = _block(model, family, weight, kv, split, engine, held_tokens)
        blocks += [block] if block else []
        lost += out
    return blocks, lost


def _block(
    model: LlmModel,
    gpus: Sequence[Gpu],
    weight: WeightFormat,
    kv: KvFormat,
    split: Parallel,
    engine: EngineArgs,
    held_tokens: float,
) -> tuple[Block | None, list[RejectedChoice]]:
    asked = engine.replace(
        tensor_parallel_size=split.tp,
        pipeline_parallel_size=split.pp,
        max_num_seqs=int(SLOTS[0]),
        max_num_batched_tokens=int(TOKEN_BUDGETS[0]),
    )
    first = gpus[0]
    resolved = resolve(
        asked,
        first,
        longest=model.max_position_embeddings,
        weight_format=weight.id,
        kv_cache_dtype=kv.id,
    )
    layout = kv_layout(model, resolved, kv, first)
    card = Card(first.capability, rocm=first.vendor is Vendor.AMD)
    stages = rank_weight_bytes(model, weight, tp=split.tp, pp=split.pp, gpu=card).stages
    columns = gpu_columns(gpus, load_overheads())
    budget = kv_budget_bytes(model, weight, resolved, columns, stages, layout)
    needed = needed_bytes(layout)
    fits = np.asarray(budget) >= max(needed, 1.0)
    lost = [
        rejected(gpu.id, split, weight.id, kv.id, _too_small(gpu, resolved, float(left), needed))
        for gpu, left, ok in zip(gpus, np.asarray(budget), fits, strict=True)
        if not ok
    ]
    kept = tuple(gpu for gpu, ok in zip(gpus, fits, strict=True) if ok)
    if not kept:
        return None, lost
    step = step_model(
        model, kept, weight, kv, split, asynchronous=resolved.async_scheduling, stacked=True
    )
    return Block(
        split=split,
        weight=weight,
        kv=kv,
        engine=resolved,
        gpus=kept,
        columns=gpu_columns(kept, load_overheads()),
        stage_weights=stages,
        layout=layout,
        request_bytes=float(kv_bytes_per_request(layout, held_tokens)),
        step=step,
    ), lost


def _too_small(gpu: Gpu, engine: ResolvedEngine, left: float, needed: float) -> Rejection:
    """Say how much memory a rank lacks. [B]"""
    usable = engine.gpu_memory_utilization * gpu.memory_bytes
    taken = usable - left + needed
    reason = (
        f"a rank needs {taken / GIB:.1f} GiB with one request of {engine.max_model_len:,} tokens; "
        f"vLLM may use {usable / GIB:.1f} GiB of {gpu.id}"
    )
    return Rejection(limit=Limit.MEMORY, needed=taken, available=usable, reason=reason)


def kv_bytes(model: LlmModel, block: Block, rows: Rows, slots: Values, tokens: Values) -> Array:
    """KV bytes of a rank, for rows of a block; 0 where not even one request fits. [B]

    Args:
        model: The model.
        block: The block.
        rows: Its rows, in any order.
        slots: max_num_seqs, one a row or one for all. [1]
        tokens: max_num_batched_tokens, likewise. [tokens]
    """
    budget = kv_budget_bytes(
        model,
        block.weight,
        block.engine,
        _some(block.columns, rows),
        block.stage_weights,
        block.layout,
        max_num_batched_tokens=tokens,
        max_num_seqs=slots,
    )
    return np.where(budget >= needed_bytes(block.layout), budget, 0.0)


def _some(columns: GpuColumns, rows: Rows) -> GpuColumns:
    """Return some rows of GPUs' figures."""
    return GpuColumns(*(getattr(columns, f.name)[rows] for f in fields(columns)))
