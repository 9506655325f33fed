"""vLLM's settings in other engines' words, by engines_db/settings.toml; what has none is said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from fitcalc.answers import Row
from fitcalc.catalog.tables import read_toml
from fitcalc.inputs.engine import PerformanceMode, SchedulingPolicy
from fitcalc.report.deploy.deployment import Deployment
from fitcalc.units import GIB, GIGA

Value = str | int | float


class Unmapped(Row):
    """A setting of vLLM that another engine does not have: it will not run as predicted.

    Attributes:
        setting: vLLM's name.
        value: As planned.
        reason: Why there is none, and what comes near.
    """

    setting: str
    value: str
    reason: str


@dataclass(slots=True)
class Mapped:
    """A choice in another engine's words."""

    flags: list[str] = field(default_factory=list)
    config: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unmapped: list[Unmapped] = field(default_factory=list)


def mapped(deployment: Deployment, engine: str) -> Mapped:
    """Say a choice's settings to another engine.

    Args:
        deployment: The choice.
        engine: A column of settings.toml: sglang or trtllm.
    """
    table = cast("Mapping[str, Mapping[str, Mapping[str, object]]]", _table())
    out = Mapped()
    for name, value in _settings(deployment):
        _say(out, name, value, table[name][engine])
    return out


@cache
def _table() -> Mapping[str, object]:
    return read_toml("engines_db", "settings.toml")


def _say(out: Mapped, name: str, value: Value, row: Mapping[str, object]) -> None:
    """Add one setting's flags, keys and note, or why it has none."""
    names = cast("Mapping[str, str] | None", row.get("values"))
    if "missing" in row:
        out.unmapped.append(Unmapped(setting=name, value=str(value), reason=str(row["missing"])))
        return
    if names is not None and str(value) not in names:
        reason = f"it has no equivalent of {value}"
        out.unmapped.append(Unmapped(setting=name, value=str(value), reason=reason))
        return
    said = value if names is None else names[str(value)]
    following = said + 1 if isinstance(said, int) else said
    words = cast("list[str]", row.get("flags", []))
    out.flags += [word.format(value=said, next=following) for word in words]
    for path, given in cast("Mapping[str, object]", row.get("config", {})).items():
        _put(out.config, path, {"{value}": said, "{none}": None}.get(str(given), given))
    if "note" in row:
        out.notes.append(f"{name}: {str(row['note']).format(value=said)}")


def _put(config: dict[str, object], path: str, value: object) -> None:
    """Set a key of a nested mapping, its place written with dots."""
    *outer, last = path.split(".")
    place = config
    for part in outer:
        place = cast("dict[str, object]", place.setdefault(part, {}))
    place[last] = value


def _settings(deployment: Deployment) -> Iterator[tuple[str, Value]]:
    """Yield what is to be said: the layout, the limits, and what differs from vLLM's default."""
    engine = deployment.choice.engine
    yield from _layout(deployment)
    for name in ("quantization", "kv-cache-dtype"):
        asked = deployment.flag(f"--{name}")
        if asked is not None:
            yield name.replace("-", "_"), asked
    yield "max_model_len", engine.max_model_len
    yield "max_num_seqs", engine.seats
    if engine.enable_chunked_prefill:
        yield "enable_chunked_prefill", 1
        yield "max_num_batched_tokens", engine.max_num_batched_tokens
    else:
        yield "no_chunked_prefill", 1
    yield from _memory(deployment)
    yield from _switches(deployment)


def _layout(deployment: Deployment) -> Iterator[tuple[str, Value]]:
    engine = deployment.choice.engine
    tp, dp = engine.tensor_parallel_size, engine.data_parallel_size
    shared = engine.enable_expert_parallel and dp > 1
    yield "tensor_parallel_size", tp * dp if shared else tp
    if engine.pipeline_parallel_size > 1:
        yield "pipeline_parallel_size", engine.pipeline_parallel_size
    if dp > 1:
        yield "attention_data_parallel" if shared else "data_parallel_size", dp
    if engine.enable_expert_parallel:
        yield "expert_parallel_size", tp * dp
    if engine.decode_context_parallel_size > 1:
        yield "decode_context_parallel_size", engine.decode_context_parallel_size


def _memory(deployment: Deployment) -> Iterator[tuple[str, Value]]:
    engine, memory = deployment.choice.engine, deployment.choice.memory
    kept = memory.weights_bytes + memory.kv_cache_bytes
    yield "static_memory_share", _down(kept / memory.gpu_memory_bytes)
    free = memory.kv_cache_bytes + memory.unused_bytes
    yield "free_memory_share", _down(memory.kv_cache_bytes / max(free, 1.0))
    if engine.block_size is not None:
        yield "block_size", engine.block_size
    if engine.cpu_offload_gb > 0:
        yield "cpu_offload_gb", math.ceil(engine.cpu_offload_gb)
    if engine.kv_offloading_size is not None:
        yield "kv_offloading_gb", math.ceil(engine.kv_offloading_size * GIB / GIGA / engine.gpus)


def _down(share: float) -> float:
    """Round a share of memory down, so that it still fits."""
    return math.floor(share * 1000.0) / 1000.0


def _switches(deployment: Deployment) -> Iterator[tuple[str, Value]]:
    engine = deployment.choice.engine
    rows: tuple[tuple[str, Value, bool], ...] = (
        ("no_prefix_caching", 1, not engine.enable_prefix_caching),
        ("no_async_scheduling", 1, not engine.async_scheduling),
        ("enforce_eager", 1, engine.enforce_eager),
        ("scheduling_policy", "priority", engine.scheduling_policy is SchedulingPolicy.PRIORITY),
        ("long_prefill_token_threshold", engine.long_prefill_token_threshold,
         engine.long_prefill_token_threshold > 0),
        ("prefill_schedule_interval", engine.prefill_schedule_interval,
         engine.prefill_schedule_interval > 1),
        ("watermark", engine.watermark, engine.watermark > 0),
        ("performance_mode", engine.performance_mode.value,
         engine.performance_mode is not PerformanceMode.BALANCED),
        ("max_loras", engine.max_loras, engine.enable_lora),
        ("max_lora_rank", engine.max_lora_rank, engine.enable_lora),
        ("num_speculative_tokens", engine.num_speculative_tokens,
         engine.num_speculative_tokens > 0),
    )  # fmt: skip
    yield from ((name, value) for name, value, shown in rows if shown)
