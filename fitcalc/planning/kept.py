"""Settings that a user gave and that every candidate of a plan keeps; what is open is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.catalog.formats import WeightFormat, load_weight_format
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import LlmModel
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.physics.weights import Parallel
from fitcalc.planning.setup import asked_format, reach, same_checkpoint
from fitcalc.units import Array

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
PIPELINE_PARALLEL_SIZES = (2, 3, 4, 6, 8)
TOKEN_BUDGETS = (1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
"""Values of max_num_batched_tokens that are tried. [tokens]"""
SLOTS = (64.0, 256.0, 1024.0)
"""Values of max_num_seqs that are tried. [1]"""
FORMATS = ("bf16", "fp16", "fp8")
"""Formats tried of a 16-bit checkpoint: as it is, or quantized while loading."""
_HALVES = {"half": "fp16", "float16": "fp16", "bfloat16": "bf16"}
_ALONE = {
    "data_parallel_size": "a plan starts more servers instead",
    "decode_context_parallel_size": "a plan spreads no context over ranks",
    "enable_expert_parallel": "a plan splits experts by tensor parallelism",
    "long_prefill_token_threshold": "it asks for events",
    "prefill_schedule_interval": "it asks for events",
}
"""Settings that a plan cannot search with, and why."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What the search varies of layouts and batch limits.

    Attributes:
        tp, pp: The only sizes to try; ``None`` = all.
        slots: Values of max_num_seqs, rising. [1]
        tokens: Values of max_num_batched_tokens, rising. [tokens]
    """

    tp: int | None = None
    pp: int | None = None
    slots: tuple[float, ...] = SLOTS
    tokens: tuple[float, ...] = TOKEN_BUDGETS

    def splits(self) -> list[Parallel]:
        """Layouts in the order they are tried: one node first, then pipelines, short first."""
        wide = (self.tp,) if self.tp else TENSOR_PARALLEL_SIZES
        deep = (self.pp,) if self.pp else (1, *PIPELINE_PARALLEL_SIZES)
        return [Parallel(tp, pp) for pp in deep for tp in wide]

    def allows(self, gpu: Gpu, split: Parallel) -> bool:
        """Whether a layout is tried: tensor parallelism stays in a node, pipelines fill nodes."""
        if split.tp > reach(gpu):
            return False
        given = self.pp is not None or self.tp is not None
        return split.pp == 1 or given or 1 < split.tp == min(gpu.gpus_per_node, 8)

    def budgets(self, slots: Array) -> Array:
        """Token budgets beside so many slots: vLLM wants at least a token a slot. [tokens]"""
        return np.maximum(self.tokens, slots)


EVERYTHING = Tried()


def tried(engine: EngineArgs) -> Tried:
    """Return what is left to vary beside the settings that were given.

    Raises:
        InvalidValue: a plan cannot keep a setting.
    """
    for name, why in _ALONE.items():
        value = getattr(engine, name)
        if value != type(engine).model_fields[name].default:
            raise InvalidValue(name, value, f"{why}; leave it out, or ask predict or simulate")
    if engine.dtype not in {"auto", *_HALVES}:
        raise InvalidValue("dtype", engine.dtype, f"use auto, {', '.join(_HALVES)}")
    given = engine.model_fields_set
    seats, tokens = engine.max_num_seqs, engine.max_num_batched_tokens
    return Tried(
        tp=engine.tensor_parallel_size if "tensor_parallel_size" in given else None,
        pp=engine.pipeline_parallel_size if "pipeline_parallel_size" in given else None,
        slots=(float(seats),) if seats else _slots(engine.max_num_active_seqs or 0, tokens),
        tokens=(float(tokens),) if tokens else TOKEN_BUDGETS,
    )


def _slots(least: int, most: int | None) -> tuple[float, ...]:
    """Slots to try beside sequences that may be active and a token budget that is kept. [1]"""
    some = tuple(x for x in SLOTS if x >= least and x <= (most or x))
    return some or (float(max(least, min(most or SLOTS[-1], SLOTS[-1]))),)


def weight_formats(
    model: LlmModel, wanted: Sequence[str] | None, engine: EngineArgs | None = None
) -> tuple[WeightFormat, ...]:
    """Return the formats to try: those asked for, else the checkpoint's own, else 16 bits and fp8.

    Raises:
        UnknownName: no such format.
        InvalidValue: two formats are asked for at once.
    """
    settings = engine or EngineArgs()
    own = asked_format(model, settings.quantization)
    if wanted:
        found = (same_checkpoint(model, load_weight_format(name)) for name in wanted)
        formats = tuple(dict.fromkeys(found))
        if own is not None and formats != (own,):
            fix = f"the engine's settings say {own.id}; name formats in one place"
            raise InvalidValue("quantization", ", ".join(wanted), fix)
        return formats
    if own is not None:
        return (own,)
    half = _HALVES.get(settings.dtype)
    names = (name for name in FORMATS if half is None or name in {half, "fp8"})
    return tuple(load_weight_format(name) for name in names)
