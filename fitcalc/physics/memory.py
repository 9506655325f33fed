"""The memory ledger of one rank, and the KV budget of many candidates at once.

Source: vllm/v1/worker/gpu_worker.py, ``determine_available_memory``, and the start-up checks of
vllm/v1/worker/utils.py and vllm/v1/core/kv_cache_utils.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.catalog.formats import WeightFormat, load_kv_format, load_weight_format
from fitcalc.catalog.gpu import Gpu, Vendor
from fitcalc.catalog.model import LlmModel
from fitcalc.catalog.overheads import OverheadCoefficients, load_overheads
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.kv_cache import (
    KvLayout,
    kv_layout,
    kv_tokens,
    longest_len,
    max_concurrency,
    needed_bytes,
    num_blocks,
)
from fitcalc.physics.lora import lora_stage_bytes
from fitcalc.physics.overheads import GpuColumns, Overheads, gpu_columns, overheads
from fitcalc.physics.starting import Rank, start_refusal
from fitcalc.physics.weights import Card, Weights, rank_weight_bytes
from fitcalc.units import GIB, Array, Values


def kv_budget_bytes(  # noqa: PLR0917 - the three tables and what follows from them
    model: LlmModel,
    weight_format: WeightFormat,
    engine: ResolvedEngine,
    gpus: GpuColumns,
    stage_weights: tuple[Values, ...],
    layout: KvLayout,
    *,
    max_num_batched_tokens: Values | None = None,
    max_num_seqs: Values | None = None,
    coefficients: OverheadCoefficients | None = None,
) -> Values:
    r"""KV bytes of one rank, for every GPU and batch limit; negative where nothing is left. [B]

    $$\lceil u M \rceil - W - A - N - G$$ with utilization $u$, visible memory $M$, weights,
    activation, non-torch and (from 0.20 on) graphs; with a pipeline, of the stage that holds the
    fewest blocks, in units of the stage with the largest ones.

    Args:
        model: The model.
        weight_format: Format of its weights.
        engine: Settings that all candidates share.
        gpus: One row a GPU; ``gpu_columns`` makes them.
        stage_weights: Weights of a rank on each pipeline stage, ``rank_weight_bytes(..).stages``.
        layout: The KV cache's layout.
        max_num_batched_tokens: Limits to try, broadcast against the GPUs. [tokens]
        max_num_seqs: Likewise. [1]
        coefficients: Fitted overheads; ``None`` = those of calibration/results/memory.toml.
    """
    if engine.kv_cache_memory_bytes is not None:
        return np.zeros_like(gpus.visible) + engine.kv_cache_memory_bytes
    over = overheads(
        model, weight_format, engine, gpus, coefficients or load_overheads(),
        max_num_batched_tokens=max_num_batched_tokens, max_num_seqs=max_num_seqs,
    )  # fmt: skip
    requested = np.ceil(engine.gpu_memory_utilization * gpus.visible)
    free = requested - over.in_budget
    offload = engine.cpu_offload_gb * GIB
    budget: Values = np.inf
    slots = lora_stage_bytes(model, engine)
    for weights, lora, block in zip(stage_weights, slots, layout.stage_bytes, strict=True):
        left = free - lora - np.maximum(weights - offload, 0.0)
        budget = np.minimum(budget, left * (layout.bytes_per_block / max(block, 1)))
    return budget


def memory_ledger(
    model: LlmModel,
    gpu: Gpu,
    engine: ResolvedEngine,
    coefficients: OverheadCoefficients | None = None,
    *,
    held: Weights | None = None,
    reserved_bytes: float = 0.0,
) -> MemoryLedger | Rejection:
    """Account for one rank's memory, or say by how much the model does not fit.

    Refused where vLLM would not start: one request of ``max_model_len`` does not fit, or the card
    has less free than ``gpu_memory_utilization`` asks for.

    Args:
        model: The model.
        gpu: The GPU.
        engine: Settings, nothing left open.
        coefficients: Fitted overheads; ``None`` = those of calibration/results/memory.toml.
        held: Weights of a rank as a checkpoint's own headers say; ``None`` = from the config.
        reserved_bytes: Kept by other processes on the card. vLLM looks what is free before it
            starts and takes its share of the whole card, so they shrink the largest
            ``gpu_memory_utilization``, not the KV cache under a smaller one. [B]
    """
    c = coefficients or load_overheads()
    layout = kv_layout(model, engine, load_kv_format(engine.kv_cache_dtype), gpu)
    held = held or _counted(model, gpu, engine)
    rank, layout = _binding_rank(model, gpu, engine, layout, c, held)
    rank = replace(rank, start=rank.start + reserved_bytes)
    refusal = start_refusal(rank, layout, engine)
    if refusal is not None:
        return refusal
    p10, p90 = (rank.kv - q * rank.consumed for q in (c.residual_p90, c.residual_p10))
    if engine.kv_cache_memory_bytes is not None:
        p10 = p90 = rank.kv
    taken = rank.weights + rank.activation + rank.non_torch + rank.cuda_graph + rank.kv
    reach = max(engine.max_model_len, model.max_position_embeddings)
    return MemoryLedger(
        gpu_memory_bytes=gpu.memory_bytes,
        weights_bytes=rank.weights,
        activation_bytes=rank.activation,
        non_torch_bytes=rank.non_torch,
        cuda_graph_bytes=rank.cuda_graph,
        kv_cache_bytes=rank.kv,
        unused_bytes=gpu.memory_bytes - taken,
        kv_bytes_per_token=layout.kv_bytes_per_token,
        kv_cache_tokens=float(kv_tokens(layout, rank.kv)),
        max_concurrency=float(max_concurrency(layout, rank.kv)),
        max_model_len=engine.max_model_len,
        max_model_len_fit=min(longest_len(layout, rank.kv), reach),
        num_gpu_blocks=int(num_blocks(layout, rank.kv)),
        block_size=layout.block_size,
        kv_cache_bytes_p10=p10,
        kv_cache_bytes_p90=p90,
        fits="yes" if p10 >= needed_bytes(layout) else "tight",
        lora_bytes=rank.lora,
        reserved_bytes=reserved_bytes,
    )


def _counted(model: LlmModel, gpu: Gpu, engine: ResolvedEngine) -> Weights:
    """Weights of a rank as counted from the model's config."""
    return rank_weight_bytes(
        model,
        load_weight_format(engine.weight_format),
        tp=engine.tensor_parallel_size,
        pp=engine.pipeline_parallel_size,
        dp=engine.data_parallel_size,
        enable_expert_parallel=engine.enable_expert_parallel,
        gpu=Card(gpu.capability, rocm=gpu.vendor is Vendor.AMD),
        mtp=engine.num_speculative_tokens > 0,
    )


def _binding_rank(  # noqa: PLR0917 - the tables, what follows from them, and the weights
    model: LlmModel,
    gpu: Gpu,
    engine: ResolvedEngine,
    layout: KvLayout,
    c: OverheadCoefficients,
    held: Weights,
) -> tuple[Rank, KvLayout]:
    """Return the rank that holds the fewest blocks, and the layout with that rank's blocks."""
    columns = gpu_columns((gpu,), c)
    over = overheads(model, load_weight_format(engine.weight_format), engine, columns, c)
    slots = lora_stage_bytes(model, engine)
    ranks = [
        _rank(columns, over, engine, stage, lora)
        for stage, lora in zip(held.stages, slots, strict=True)
    ]
    blocks = [r.kv / max(b, 1) for r, b in zip(ranks, layout.stage_bytes, strict=True)]
    binding = blocks.index(min(blocks))
    size = layout.stage_bytes[binding]
    if size == layout.bytes_per_block:
        return ranks[binding], layout
    per_token = layout.kv_bytes_per_token * size / layout.bytes_per_block
    return ranks[binding], replace(layout, bytes_per_block=size, kv_bytes_per_token=per_token)


def _rank(
    columns: GpuColumns, over: Overheads, engine: ResolvedEngine, weights: float, lora: float
) -> Rank:
    visible = float(columns.visible[0])
    requested = float(np.ceil(engine.gpu_memory_utilization * visible))
    rank = Rank(
        visible=visible,
        requested=requested,
        start=float(columns.start[0]),
        weights=max(weights - engine.cpu_offload_gb * GIB, 0.0) + lora,
        lora=lora,
        activation=_scalar(over.activation),
        non_torch=_scalar(over.non_torch),
        cuda_graph=_scalar(over.cuda_graph),
        budgeted=over.budgeted,
        kv=engine.kv_cache_memory_bytes or 0.0,
    )
    if engine.kv_cache_memory_bytes is None:
        return replace(rank, kv=requested - rank.consumed)
    return rank


def _scalar(values: Values) -> float:
    array: Array = np.asarray(values, dtype=np.float64)
    return float(array.reshape(-1)[0])
