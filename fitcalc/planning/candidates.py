"""Every configuration that could serve: layouts and formats that run and fit, GPU by GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from fitcalc.answers import Limit, Rejection
from fitcalc.catalog.formats import (
    Compute,
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
from fitcalc.physics.kv_cache import KvLayout, kv_layout, needed_bytes
from fitcalc.physics.kv_layers import has_state
from fitcalc.physics.memory import kv_budget_bytes
from fitcalc.physics.overheads import GpuColumns, gpu_columns
from fitcalc.physics.splits import divisibility
from fitcalc.physics.step import StepModel
from fitcalc.physics.weights import Card, Parallel, rank_weight_bytes
from fitcalc.planning.choice import RejectedChoice
from fitcalc.planning.kept import EVERYTHING, Tried
from fitcalc.planning.setup import unsupported
from fitcalc.units import GIB, Array

FEW_BIT_FORMATS = ("awq_int4", "nvfp4")
"""Formats that take another checkpoint."""
KV_FORMATS = ("bf16", "fp8")
_WINDOWED = (LayerKind.SLIDING, LayerKind.CHUNKED)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """GPUs under one layout and format: one row a GPU.

    Attributes:
        split: Tensor and pipeline parallelism.
        weight: Format of the weights.
        kv: Format of the KV cache.
        asked: Settings that the rows share, as given.
        engine: The same with nothing left open; its batch limits are the least that are tried.
        tried: The batch limits that are tried.
        gpus: The GPUs that can start, one a row.
        layout: The KV cache's layout.
        kv_bytes: KV bytes of a rank at each token budget and number of slots; 0 where not even
            one request fits. [B] (row, budget, slots)
        step: Step times, a row a GPU.
    """

    split: Parallel
    weight: WeightFormat
    kv: KvFormat
    asked: EngineArgs
    engine: ResolvedEngine
    tried: Tried
    gpus: tuple[Gpu, ...]
    layout: KvLayout
    kv_bytes: Array
    step: StepModel


@dataclass(frozen=True, slots=True)
class Scope:
    """What the search may vary, and what it keeps."""

    model: LlmModel
    gpus: tuple[Gpu, ...]
    weights: tuple[WeightFormat, ...]
    kvs: tuple[KvFormat, ...]
    engine: EngineArgs
    max_gpus: int | None = None
    tried: Tried = EVERYTHING


def few_bit_formats() -> tuple[WeightFormat, ...]:
    """Return the formats that take another checkpoint, and some quality."""
    return tuple(load_weight_format(name) for name in FEW_BIT_FORMATS)


def kv_formats(model: LlmModel, asked: str) -> tuple[KvFormat, ...]:
    """Return the KV formats to try: the one asked for, else the checkpoint's, else both usual."""
    own = model.quantization.kv_format if model.quantization else None
    if asked != "auto":
        return (load_kv_format(asked),)
    return tuple(load_kv_format(name) for name in ((own,) if own else KV_FORMATS))


@lru_cache(maxsize=16)
def candidates(scope: Scope) -> tuple[tuple[Block, ...], tuple[RejectedChoice, ...]]:
    """Return every layout and format that starts, and why the others do not.

    Tensor parallelism stays in a node; only GPU types that no node of holds the model are tried
    with a pipeline over several nodes.
    """
    blocks: list[Block] = []
    lost: list[RejectedChoice] = []
    most = scope.max_gpus or np.inf
    for weight in scope.weights:
        for kv in scope.kvs:
            able, refused = _able(scope, weight, kv)
            lost += refused
            started: set[str] = set()
            for split in scope.tried.splits():
                nodes = [
                    gpu
                    for gpu in able
                    if gpu.id not in (started if split.pp > 1 else ())
                    and split.tp * split.pp <= most
                    and scope.tried.allows(gpu, split)
                ]
                fresh, out = _blocks(scope, nodes, weight, kv, split)
                blocks += fresh
                lost += out
                started |= {gpu.id for block in fresh for gpu in block.gpus}
    return tuple(blocks), tuple(lost)


def _able(
    scope: Scope, weight: WeightFormat, kv: KvFormat
) -> tuple[list[Gpu], list[RejectedChoice]]:
    """GPUs that run both formats, and why the others do not.

    Where both kinds of 16 bits are tried, or of 4 bits, each GPU takes the one it multiplies in.
    """
    able, lost = [], []
    tried = {w.id for w in scope.weights}
    halves, fours = {"bf16", "fp16"} <= tried, {"awq_int4", "nvfp4"} <= tried
    for gpu in scope.gpus:
        if halves and weight.id == ("fp16" if "bf16" in gpu.peak_flops else "bf16"):
            continue
        if fours and weight.compute is Compute.FP4 and "fp4" not in gpu.peak_flops:
            continue
        no = unsupported(scope.model, weight, kv, gpu)
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


def _families(model: LlmModel, gpus: Iterable[Gpu]) -> list[list[Gpu]]:
    """GPUs whose layouts and paddings are equal: all, unless the model's depend on the card.

    Backends choose blocks by the card where layers are not all plain attention, and experts are
    padded by it.
    """
    plain = all(layer.kind in (LayerKind.FULL, LayerKind.NONE) for layer in model.layers)
    if plain and not model.is_moe:
        return [list(gpus)]
    sorted_out: dict[tuple[float, bool], list[Gpu]] = {}
    for gpu in gpus:
        sorted_out.setdefault((gpu.capability, gpu.vendor is Vendor.AMD), []).append(gpu)
    return list(sorted_out.values())


def _blocks(
    scope: Scope, gpus: Sequence[Gpu], weight: WeightFormat, kv: KvFormat, split: Parallel
) -> tuple[list[Block], list[RejectedChoice]]:
    """Return one block for each family of GPUs that can start in this layout."""
    if not gpus:
        return [], []
    no = divisibility(scope.model, weight, tp=split.tp, pp=split.pp)
    if no is not None:
        return [], [rejected(g.id, split, weight.id, kv.id, no) for g in gpus]
    blocks, lost = [], []
    for family in _families(scope.model, gpus):
        block, out = _block(scope, family, weight, kv, split)
        blocks += [block] if block else []
        lost += out
    return blocks, lost


def _block(
    scope: Scope, gpus: Sequence[Gpu], weight: WeightFormat, kv: KvFormat, split: Parallel
) -> tuple[Block | None, list[RejectedChoice]]:
    model, first = scope.model, gpus[0]
    tried = scope.tried
    asked = scope.engine.replace(
        tensor_parallel_size=split.tp, pipeline_parallel_size=split.pp,
        quantization=weight.id, kv_cache_dtype=kv.id,
    )  # fmt: skip
    longest = model.max_position_embeddings
    seats = tried.slots[0]
    engine = resolve(
        asked.replace(
            max_num_seqs=int(seats), max_num_batched_tokens=int(max(tried.tokens[0], seats))
        ),
        first,
        longest=longest,
        weight_format=weight.id,
        kv_cache_dtype=kv.id,
        hybrid=has_state(model),
    )
    layout = kv_layout(model, engine, kv, first)
    card = Card(first.capability, rocm=first.vendor is Vendor.AMD)
    stages = rank_weight_bytes(model, weight, tp=split.tp, pp=split.pp, gpu=card).stages
    room = _kv_bytes(scope, gpus, engine, stages, layout, weight, kv)
    needed = max(needed_bytes(layout), 1.0)
    fits = room[:, 0, 0] >= needed
    lost = [
        rejected(gpu.id, split, weight.id, kv.id, _too_small(gpu, engine, left, needed))
        for gpu, left, ok in zip(gpus, room[:, 0, 0], fits, strict=True)
        if not ok
    ]
    kept = tuple(gpu for gpu, ok in zip(gpus, fits, strict=True) if ok)
    if not kept:
        return None, lost
    step = step_model(model, kept, weight, kv, split, engine=engine, stacked=True)
    starts = np.where(room >= needed, room, 0.0)[fits]
    return Block(split, weight, kv, asked, engine, tried, kept, layout, starts, step), lost


def _kv_bytes(  # noqa: PLR0917 - all that the budget depends on
    scope: Scope,
    gpus: Sequence[Gpu],
    engine: ResolvedEngine,
    stages: tuple[float, ...],
    layout: KvLayout,
    weight: WeightFormat,
    kv: KvFormat,
) -> Array:
    """KV bytes of a rank at every token budget and number of slots. [B] (row, budget, slots)"""
    flat = gpu_columns(gpus, load_overheads())
    columns = GpuColumns(*(getattr(flat, f.name)[:, None, None] for f in fields(flat)))
    slots = np.array(scope.tried.slots)[None, :]
    tokens = np.maximum(np.array(scope.tried.tokens)[:, None], slots)
    room = np.broadcast_to(
        kv_budget_bytes(
            scope.model, weight, engine, columns, stages, layout,
            max_num_batched_tokens=tokens[None], max_num_seqs=slots[None],
        ),
        (len(gpus), *tokens.shape),
    )  # fmt: skip
    if not any(g.cache.kind in _WINDOWED for g in layout.groups):
        return room
    # Windows keep what is in flight besides: a larger token budget leaves room for fewer requests.
    out = room.copy()
    for i, budget in enumerate(tokens[:, 0]):
        wide = engine.replace(max_num_batched_tokens=int(budget))
        needed = needed_bytes(kv_layout(scope.model, wide, kv, gpus[0]))
        out[:, i, :] = np.where(room[:, i, :] >= needed, room[:, i, :], 0.0)
    return out


def _too_small(gpu: Gpu, engine: ResolvedEngine, left: float, needed: float) -> Rejection:
    """Say how much memory a rank lacks. [B]"""
    usable = engine.gpu_memory_utilization * gpu.memory_bytes
    taken = usable - left + needed
    reason = (
        f"a rank needs {taken / GIB:.1f} GiB with one request of {engine.max_model_len:,} tokens; "
        f"vLLM may use {usable / GIB:.1f} GiB of {gpu.id}"
    )
    return Rejection(limit=Limit.MEMORY, needed=taken, available=usable, reason=reason)
