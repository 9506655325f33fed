"""Whether vLLM starts on a rank: the start-up checks, and what they say.

Source: vllm/v1/worker/utils.py, ``request_memory``, and vllm/v1/core/kv_cache_planning.py,
``check_enough_kv_cache_memory``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Limit, Rejection
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.kv_cache import KvLayout, longest_len, needed_bytes
from fitcalc.units import GIB


@dataclass(frozen=True, slots=True)
class Rank:
    """What one rank holds: the rank of the pipeline stage that bounds the KV cache. [B]

    ``start`` is taken before vLLM looks, by its own context and by other processes; ``weights``
    include the adapters' slots, ``lora``.
    """

    visible: float
    requested: float
    start: float
    weights: float
    lora: float
    activation: float
    non_torch: float
    cuda_graph: float
    budgeted: bool
    kv: float

    @property
    def consumed(self) -> float:
        """What is taken off the budget. [B]"""
        graphs = self.cuda_graph if self.budgeted else 0.0
        return self.weights + self.activation + self.non_torch + graphs


def start_refusal(rank: Rank, layout: KvLayout, engine: ResolvedEngine) -> Rejection | None:
    """Say why vLLM would not start on this rank, or None if it would."""
    needed = needed_bytes(layout)
    free = rank.visible - rank.start
    given = engine.kv_cache_memory_bytes is not None
    if given and rank.consumed + rank.kv > free:
        return _memory(
            rank.consumed + rank.kv,
            free,
            f"kv_cache_memory_bytes {_gib(rank.kv)} and {_gib(rank.consumed)} of weights and "
            f"overheads exceed the {_gib(free)} free on the card",
        )
    if not given and rank.requested > free:
        most = np.floor(free / rank.visible * 100.0) / 100.0
        return _memory(
            rank.requested,
            free,
            f"gpu_memory_utilization {engine.gpu_memory_utilization:g} asks for "
            f"{_gib(rank.requested)} and {_gib(free)} are free at start; give {most:g} or less",
        )
    if rank.kv < needed or rank.kv <= 0:
        budget = rank.consumed + rank.kv
        least = max(needed, 1.0)
        if rank.kv <= 0:
            text = f"{_gib(rank.weights)} of weights and {_gib(rank.consumed - rank.weights)} of "
            text += f"overheads leave no KV cache of the {_gib(budget)} that vLLM may use"
        else:
            text = f"one request of {layout.max_model_len:,} tokens needs {_gib(needed)} of KV "
            text += f"cache and {_gib(rank.kv)} are left of {_gib(budget)}; the longest that fits "
            text += f"is {longest_len(layout, rank.kv):,} tokens"
        return _memory(rank.consumed + least, budget, text)
    return None


def _memory(needed: float, available: float, reason: str) -> Rejection:
    return Rejection(limit=Limit.MEMORY, needed=needed, available=available, reason=reason)


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
