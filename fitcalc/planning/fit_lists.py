"""What would fit: the fewest GPUs, the formats, the models of the tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fitcalc.answers import MemoryLedger, Rejection, Row
from fitcalc.catalog.formats import load_weight_format, weight_format_ids
from fitcalc.catalog.gpu import Gpu, gpu_ids, load_gpu
from fitcalc.catalog.mig import load_device
from fitcalc.catalog.model import load_model, model_ids
from fitcalc.inputs.engine import EngineArgs
from fitcalc.planning.fits import Ask, Verdict
from fitcalc.planning.setup import ModelName, own_formats, reach
from fitcalc.units import BITS_PER_BYTE

USUAL_CONTEXT = 8192
"""Tokens a request has where models are compared and nobody gave a context."""
_STAGES = (1, 2, 4, 8)


class GpuFit(Row):
    """The fewest GPUs of a type that hold a model, and what they leave for users."""

    gpu: str
    gpu_count: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    fits: Verdict
    kv_cache_bytes: float
    max_concurrency: float
    max_model_len: int


def least_gpus(question: Ask, *, concurrency: float = 1.0) -> GpuFit | None:
    """Return the fewest GPUs of this type for so many requests at once; None if none will do."""
    for tp, pp in _splits(question.gpu):
        split = question.having(tensor_parallel_size=tp, pipeline_parallel_size=pp)
        ledger = split.ledger()
        if isinstance(ledger, MemoryLedger) and ledger.max_concurrency >= concurrency:
            return GpuFit(
                gpu=question.gpu.id,
                gpu_count=tp * pp,
                tensor_parallel_size=tp,
                pipeline_parallel_size=pp,
                fits=ledger.fits,
                kv_cache_bytes=ledger.kv_cache_bytes,
                max_concurrency=ledger.max_concurrency,
                max_model_len=ledger.max_model_len,
            )
    return None


def _splits(gpu: Gpu) -> Iterator[tuple[int, int]]:
    """Tensor and pipeline sizes, fewest GPUs first and of those the widest tensor parallelism."""
    most = min(reach(gpu), gpu.gpus_per_node)
    widths = [2**i for i in range(int(math.log2(most)) + 1)]
    yield from sorted(
        ((tp, pp) for tp in widths for pp in _STAGES if pp == 1 or gpu.gpus_per_node > 1),
        key=lambda split: (split[0] * split[1], split[1]),
    )


def gpus_that_fit(
    model: ModelName, engine: EngineArgs, *, concurrency: float = 1.0,
    reserved_bytes: float = 0.0, gpus: Sequence[str] | None = None,
) -> tuple[GpuFit, ...]:  # fmt: skip
    """Return the fewest of every GPU type that hold a model, least memory first."""
    llm = load_model(model)
    cards = [load_gpu(name) for name in gpus or gpu_ids()]
    asks = [Ask(llm, card, engine, None, reserved_bytes) for card in cards]
    found = [(one.gpu, least_gpus(one, concurrency=concurrency)) for one in asks]
    held = [(card.memory_bytes * fit.gpu_count, fit) for card, fit in found if fit is not None]
    return tuple(fit for _, fit in sorted(held, key=lambda pair: (pair[0], pair[1].gpu)))


class FormatFit(Row):
    """A weight format, and what a rank of it leaves for the KV cache."""

    quantization: str
    own_checkpoint: bool
    bits: float
    fits: Verdict
    weights_bytes: float | None
    kv_cache_bytes: float | None
    max_concurrency: float | None


def formats_that_fit(question: Ask) -> tuple[FormatFit, ...]:
    """Try every weight format that the GPU runs: most bits first, so the first that fits is best.

    Formats of experts only are left out for models without experts.
    """
    own = own_formats(question.model)
    rows = []
    for name in weight_format_ids():
        weight = load_weight_format(name)
        twin = name == "fp16" and "bf16" in question.gpu.peak_flops
        if twin or (weight.experts_only and not question.model.is_moe):
            continue
        setup = question.having(quantization=name).setup()
        if isinstance(setup, Rejection) or setup.weight.id != name:
            continue
        ledger = question.having(quantization=name).ledger()
        room = ledger if isinstance(ledger, MemoryLedger) else None
        rows.append(FormatFit(
            quantization=name,
            own_checkpoint=name in own,
            bits=weight.bytes_per_param * BITS_PER_BYTE,
            fits=room.fits if room else "no",
            weights_bytes=room and room.weights_bytes,
            kv_cache_bytes=room and room.kv_cache_bytes,
            max_concurrency=room and room.max_concurrency,
        ))  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.bits, row.quantization)))


class ModelFit(Row):
    """A model of the tables that fits, as its own checkpoint is stored."""

    model: str
    total_params: int
    quantization: str
    fits: Verdict
    weights_bytes: float
    kv_cache_bytes: float
    max_concurrency: float
    max_model_len: int
    max_model_len_fit: int


def largest_models(
    gpu: str | Gpu,
    engine: EngineArgs,
    *,
    context: int | None = None,
    concurrency: float = 1.0,
    reserved_bytes: float = 0.0,
) -> tuple[ModelFit, ...]:
    """Return the models of the tables that fit with so many requests at once, largest first."""
    card = gpu if isinstance(gpu, Gpu) else load_device(gpu)
    rows = []
    for name in model_ids():
        llm = load_model(name)
        longest = min(context or engine.max_model_len or USUAL_CONTEXT, llm.max_position_embeddings)
        question = Ask(llm, card, engine.replace(max_model_len=longest), None, reserved_bytes)
        setup, ledger = question.setup(), question.ledger()
        if isinstance(setup, Rejection) or isinstance(ledger, Rejection):
            continue
        if ledger.max_concurrency >= concurrency:
            rows.append(ModelFit(
                model=name, total_params=llm.total_params, quantization=setup.weight.id,
                fits=ledger.fits, weights_bytes=ledger.weights_bytes,
                kv_cache_bytes=ledger.kv_cache_bytes, max_concurrency=ledger.max_concurrency,
                max_model_len=ledger.max_model_len, max_model_len_fit=ledger.max_model_len_fit,
            ))  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.total_params, row.model)))
