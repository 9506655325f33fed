"""What each of vLLM's settings would free: KV cache and concurrency beside what is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from fitcalc.answers import Limit, MemoryLedger, Rejection, Row
from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.overheads import load_overheads
from fitcalc.physics.launch import host_s
from fitcalc.physics.overheads import gpu_columns
from fitcalc.planning.fits import Ask, Verdict
from fitcalc.planning.server import step_of
from fitcalc.planning.setup import Setup
from fitcalc.units import GIB, MILLI

_FEWER, _LEAST_SEQS = 4, 16
_TOKENS = 2048
_OFFLOADED_GIB = 8.0
_UTILIZATION = 0.95


class Knob(Row):
    """One setting changed. KV cache of a rank [B] and requests of max_model_len, with the change.

    Changes are null where one side does not fit.
    """

    setting: str
    value: str
    fits: Verdict
    kv_cache_bytes: float | None
    kv_cache_bytes_change: float | None
    max_concurrency: float | None
    max_concurrency_change: float | None
    cost: str


def what_frees(question: Ask) -> tuple[Knob, ...]:
    """Try every setting that frees memory, one at a time; what the GPU cannot do is left out."""
    setup, before = question.setup(), question.ledger()
    if isinstance(setup, Rejection):
        return ()
    tried = (
        (name, value, question.having(**{name: value}).ledger(), cost)
        for name, value, cost in _changes(question, setup)
    )
    return tuple(
        _knob(name, value, after, before, cost)
        for name, value, after, cost in tried
        if isinstance(after, MemoryLedger) or after.limit is Limit.MEMORY
    )


def _knob(
    name: str, value: object, after: MemoryLedger | Rejection, before: MemoryLedger | Rejection,
    cost: str,
) -> Knob:  # fmt: skip
    new = after if isinstance(after, MemoryLedger) else None
    old = before if isinstance(before, MemoryLedger) else None
    return Knob(
        setting=name,
        value=f"{value:,}" if isinstance(value, int) and value is not True else str(value).lower(),
        fits=new.fits if new else "no",
        kv_cache_bytes=new and new.kv_cache_bytes,
        kv_cache_bytes_change=new and old and new.kv_cache_bytes - old.kv_cache_bytes,
        max_concurrency=new and new.max_concurrency,
        max_concurrency_change=new and old and new.max_concurrency - old.max_concurrency,
        cost=cost,
    )


def _changes(question: Ask, setup: Setup) -> Iterator[tuple[str, object, str]]:
    """Name each setting that can give memory back, its value, and what that costs."""
    engine = setup.engine
    most = largest_utilization(question)
    if engine.gpu_memory_utilization < min(most, _UTILIZATION):
        share = min(most, _UTILIZATION)
        yield "gpu_memory_utilization", share, "less room for what else runs on the card"
    if setup.kv.bytes_per_element > 1:
        yield "kv_cache_dtype", "fp8", "keys and values lose precision"
    fewer = max(engine.max_num_seqs // _FEWER, min(_LEAST_SEQS, engine.max_num_seqs))
    if fewer < engine.max_num_seqs:
        yield "max_num_seqs", fewer, "fewer requests run at once"
    least = max(_TOKENS, engine.max_num_seqs)
    if engine.max_num_batched_tokens > least:
        yield "max_num_batched_tokens", least, "prompts take more steps"
    if engine.max_model_len > 1:
        yield "max_model_len", engine.max_model_len // 2, "longer requests are refused"
    if not engine.enforce_eager:
        eager = replace(setup, engine=engine.replace(enforce_eager=True))
        floor = float(host_s(step_of(eager).launch)) / MILLI
        yield "enforce_eager", True, f"no step under {floor:,.1f} ms, which the host takes"
    if setup.weight.bits > load_weight_format("fp8").bits and question.index is None:
        yield "quantization", "fp8", "weights lose precision"
    offloaded = engine.cpu_offload_gb + _OFFLOADED_GIB
    slower = _OFFLOADED_GIB * GIB / setup.gpu.pcie_bandwidth / MILLI
    yield "cpu_offload_gb", offloaded, f"{slower:,.0f} ms more a step over PCIe"
    yield "tensor_parallel_size", 2 * engine.tensor_parallel_size, "twice the GPUs"


def largest_utilization(question: Ask) -> float:
    """Return the largest gpu_memory_utilization with which vLLM starts, in whole hundredths. [1]"""
    columns = gpu_columns((question.gpu,), load_overheads())
    total = float(columns.visible[0])
    free = total - float(columns.start[0]) - question.reserved_bytes
    return max(math.floor(free / total * 100.0) / 100.0, 0.0)
