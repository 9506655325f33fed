"""Questions about memory: does it fit, how many users at which context."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fitcalc.answers import MemoryLedger, Rejection, Row
from fitcalc.catalog.gpu import Gpu, Vendor
from fitcalc.catalog.index import CheckpointIndex, read_index
from fitcalc.catalog.mig import load_device
from fitcalc.catalog.model import LlmModel, load_model
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.physics.checkpoint import CheckpointWeights, checkpoint_weights
from fitcalc.physics.kv_cache import kv_layout, reserved_blocks
from fitcalc.physics.memory import memory_ledger
from fitcalc.physics.weights import Card
from fitcalc.planning.fit_notes import fit_notes
from fitcalc.planning.setup import ModelName, Setup, set_up

Verdict = Literal["yes", "tight", "no"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One configuration to ask about; ``reserved_bytes`` are kept by other processes. [B]"""

    model: LlmModel
    gpu: Gpu
    engine: EngineArgs
    index: CheckpointIndex | None = None
    reserved_bytes: float = 0.0

    def setup(self) -> Setup | Rejection:
        """Resolve every setting."""
        return set_up(self.model, self.gpu, self.engine)

    def ledger(self) -> MemoryLedger | Rejection:
        """Account for one rank's memory."""
        setup = self.setup()
        if isinstance(setup, Rejection):
            return setup
        held = None if self.index is None else self._held(setup, self.index)
        ledger = memory_ledger(
            setup.model, setup.gpu, setup.engine,
            held=None if held is None else held.weights, reserved_bytes=self.reserved_bytes,
        )  # fmt: skip
        if isinstance(ledger, Rejection):
            return ledger
        notes = (*(held.notes if held else ()), *fit_notes(setup, ledger))
        return ledger.model_copy(update={"notes": notes})

    def _held(self, setup: Setup, index: CheckpointIndex) -> CheckpointWeights:
        card = Card(setup.gpu.capability, rocm=setup.gpu.vendor is Vendor.AMD)
        mtp = setup.engine.num_speculative_tokens > 0
        return checkpoint_weights(setup.model, index, setup.weight, setup.split, gpu=card, mtp=mtp)

    def having(self, **settings: object) -> Ask:
        """Return the same question with some of vLLM's settings changed."""
        return replace(self, engine=self.engine.replace(**settings))


def ask(
    model: ModelName,
    gpu: str | Gpu,
    engine: EngineArgs | None = None,
    *,
    index: str | Path | None = None,
    reserved_bytes: float = 0.0,
) -> Ask:
    """Name a configuration to ask about; arguments as of ``fit``."""
    if not 0.0 <= reserved_bytes < math.inf:
        raise InvalidValue("reserved_bytes", reserved_bytes, "give bytes of at least 0")
    return Ask(
        load_model(model),
        gpu if isinstance(gpu, Gpu) else load_device(gpu),
        engine or EngineArgs(),
        None if index is None else read_index(index),
        reserved_bytes,
    )


def fit(
    model: ModelName,
    gpu: str | Gpu,
    engine: EngineArgs | None = None,
    *,
    index: str | Path | None = None,
    reserved_bytes: float = 0.0,
) -> MemoryLedger | Rejection:
    """Say whether a model fits on a GPU under vLLM's settings, and what is left for the KV cache.

    Args:
        model: Alias, table id, Hugging Face id, path to a config.json or its folder, or a config.
        gpu: Table id, alias or driver's name; ``h100:3g.40gb`` is a MIG slice of one.
        engine: vLLM's settings; open fields resolve as that vLLM would.
        index: A checkpoint's safetensors index, file or folder, for its exact weights.
        reserved_bytes: Memory that other processes on the card keep. [B]

    Returns:
        One rank's ledger, or a falsy ``Rejection`` with what is needed and available. [B]

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    return ask(model, gpu, engine, index=index, reserved_bytes=reserved_bytes).ledger()


class Room(Row):
    """How many requests of a length run at once, over all data-parallel ranks."""

    context: int
    concurrency: float
    limited_by: Literal["kv_cache", "max_num_seqs"]


def concurrency_at(question: Ask, context: int) -> Room | Rejection:
    """Say how many requests of ``context`` tokens run at once.

    An open max_model_len is set to the context.
    """
    if question.engine.max_model_len is None:
        question = question.having(max_model_len=context)
    setup, ledger = question.setup(), question.ledger()
    if isinstance(setup, Rejection):
        return setup
    if isinstance(ledger, Rejection):
        return ledger
    layout = kv_layout(setup.model, setup.engine, setup.kv, setup.gpu)
    held = ledger.num_gpu_blocks / max(float(reserved_blocks(layout, float(context))), 1.0)
    ranks, slots = setup.engine.data_parallel_size, setup.engine.max_num_seqs
    full = held > slots
    return Room(
        context=context,
        concurrency=ranks * min(held, float(slots)),
        limited_by="max_num_seqs" if full else "kv_cache",
    )


def longest_context(question: Ask, concurrency: int) -> Room | Rejection:
    """Return the longest context that so many requests may have at once."""
    low, high = 0, question.engine.max_model_len or question.model.max_position_embeddings
    best: Room | Rejection = concurrency_at(question.having(max_model_len=1), 1)
    while low < high:
        middle = (low + high + 1) // 2
        room = concurrency_at(question.having(max_model_len=middle), middle)
        if isinstance(room, Room) and room.concurrency >= concurrency:
            low, best = middle, room
        else:
            high = middle - 1
    if low:
        return best
    return best if isinstance(best, Rejection) else best.model_copy(update={"context": 0})
