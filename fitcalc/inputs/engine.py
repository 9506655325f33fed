"""vLLM's settings, by vLLM's names, and how vLLM fills what a user leaves out."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fitcalc.errors import InvalidValue
from fitcalc.inputs.question import Question
from fitcalc.units import GIB, parse_bytes, parse_tokens

if TYPE_CHECKING:
    from fitcalc.catalog.gpu import Gpu

NEWEST_VERSION = "0.33.0"
OLDEST_VERSION = (0, 6)
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank takes (vllm/config/lora.py, ``MaxLoRARanks``)."""


class PerformanceMode(StrEnum):
    """What vLLM's defaults lean to (vllm/config/vllm.py).

    ``throughput`` doubles the batch limits that vLLM picks itself, ``interactivity`` captures a
    CUDA graph for every batch up to 32.
    """

    BALANCED = "balanced"
    INTERACTIVITY = "interactivity"
    THROUGHPUT = "throughput"


class SchedulingPolicy(StrEnum):
    """Who waits in front, and who is preempted first (vllm/config/scheduler.py)."""

    FCFS = "fcfs"
    PRIORITY = "priority"


SINCE: dict[str, tuple[int, int]] = {
    "scheduling_policy": (0, 9),
    "long_prefill_token_threshold": (0, 8),
    "prefill_schedule_interval": (0, 33),
    "max_num_active_seqs": (0, 32),
    "watermark": (0, 32),
}
"""vLLM's oldest release known to schedule by each setting: pull requests 19057 and 15419 and the
sources of 0.32 and 0.33 (before which the interval applies to data-parallel engines alone)."""


class EngineArgs(Question):
    """Settings of one vLLM server. Fields left ``None`` resolve as that vLLM would.

    Attributes are named and meant as in vLLM's ``EngineArgs`` (vllm/engine/arg_utils.py);
    ``version`` is vLLM's own and picks the defaults and the overheads.
    """

    tensor_parallel_size: int = Field(default=1, ge=1, le=1024)
    pipeline_parallel_size: int = Field(default=1, ge=1, le=1024)
    data_parallel_size: int = Field(default=1, ge=1, le=1024)
    decode_context_parallel_size: int = Field(default=1, ge=1, le=1024)
    enable_expert_parallel: bool = False
    quantization: str | None = None
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = Field(default=None, ge=1, le=100_000_000)
    max_num_seqs: int | None = Field(default=None, ge=1, le=1_000_000)
    max_num_batched_tokens: int | None = Field(default=None, ge=1, le=100_000_000)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    kv_cache_memory_bytes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    block_size: int | None = Field(default=None, ge=1, le=4096)
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    async_scheduling: bool | None = None
    scheduling_policy: SchedulingPolicy = SchedulingPolicy.FCFS
    max_num_active_seqs: int | None = Field(default=None, ge=1, le=1_000_000)
    long_prefill_token_threshold: int = Field(default=0, ge=0, le=100_000_000)
    prefill_schedule_interval: int = Field(default=1, ge=1, le=1_000_000)
    watermark: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    enforce_eager: bool = False
    performance_mode: PerformanceMode = PerformanceMode.BALANCED
    enable_lora: bool = False
    max_loras: int = Field(default=1, ge=1, le=1_000_000)
    max_lora_rank: int = Field(default=16, ge=1, le=512)
    cpu_offload_gb: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    kv_offloading_size: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    num_speculative_tokens: int = Field(default=0, ge=0, le=64)
    version: str = NEWEST_VERSION

    @field_validator(
        "max_model_len", "max_num_batched_tokens", "kv_cache_memory_bytes", mode="before"
    )
    @classmethod
    def _as_written(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        read = parse_bytes if name.endswith("bytes") else parse_tokens
        return read(value, name) if isinstance(value, str) else value

    @field_validator("version")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if release(value) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise ValueError(f"fitcalc knows vLLM from {oldest} on; name such a version")
        return value

    @field_validator("max_lora_rank")
    @classmethod
    def _rank_of_vllm(cls, value: int) -> int:
        if value not in LORA_RANKS:
            raise ValueError(f"use one of {', '.join(map(str, LORA_RANKS))}")
        return value

    @model_validator(mode="after")
    def _budget(self) -> EngineArgs:
        seqs, tokens = self.max_num_seqs, self.max_num_batched_tokens
        if seqs is not None and tokens is not None and tokens < seqs:
            raise ValueError("give max_num_batched_tokens at or above max_num_seqs")
        return self

    @model_validator(mode="after")
    def _known_to_version(self) -> EngineArgs:
        for name, since in SINCE.items():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default and release(self.version) < since:
                fix = f"vLLM schedules by it from {since[0]}.{since[1]} on; leave it out"
                raise InvalidValue(name, value, fix)
        return self

    @property
    def gpus(self) -> int:
        """GPUs of one server: tensor x pipeline x data parallel. [1]"""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


class ResolvedEngine(Question):
    """EngineArgs with nothing left open: what that vLLM on that GPU runs with."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    decode_context_parallel_size: int
    enable_expert_parallel: bool
    weight_format: str
    kv_cache_dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float
    kv_cache_memory_bytes: float | None
    block_size: int | None
    enable_prefix_caching: bool
    enable_chunked_prefill: bool
    async_scheduling: bool
    enforce_eager: bool
    cpu_offload_gb: float
    num_speculative_tokens: int
    version: str
    scheduling_policy: SchedulingPolicy = SchedulingPolicy.FCFS
    max_num_active_seqs: int | None = None
    long_prefill_token_threshold: int = 0
    prefill_schedule_interval: int = 1
    watermark: float = 0.0
    performance_mode: PerformanceMode = PerformanceMode.BALANCED
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16
    kv_offloading_size: float | None = None

    @property
    def seats(self) -> int:
        """Sequences that may run at once. [1]"""
        return min(self.max_num_seqs, self.max_num_active_seqs or self.max_num_seqs)

    @property
    def paces_prefills(self) -> bool:
        """Whether prompts are held back by rules that the closed form does not know."""
        return self.long_prefill_token_threshold > 0 or self.prefill_schedule_interval > 1

    @property
    def gpus(self) -> int:
        """GPUs of one server. [1]"""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


def release(version: str) -> tuple[int, int]:
    """Major and minor of a vLLM version such as ``0.11.2+rhai1``, ``v0.10.2`` or ``<0.7.1``.

    What stands before the first digit does not count.

    Raises:
        ValueError: the text is no version.

    Examples:
        >>> release("0.11.2+rhai1"), release("<0.7.1")
        ((0, 11), (0, 7))
    """
    found = re.match(r"\D*(\d+)\.(\d+)", version)
    if found is None:
        raise ValueError(f"give vLLM's version as {NEWEST_VERSION}, not {version!r}")
    return int(found[1]), int(found[2])


_LARGE_CARD_BYTES = 160 * GIB
_MEDIUM_CARD_BYTES = 70 * GIB


def default_batch_limits(gpu: Gpu, version: str) -> tuple[int, int]:
    """Return vLLM's own (max_num_batched_tokens, max_num_seqs) of ``vllm serve`` on a GPU.

    Source: vllm/engine/arg_utils.py, ``get_batch_defaults`` (0.33.0, lines 2940-3039); the class
    of 160 GiB came with 0.28, before which 70 GiB cards and larger shared one row.
    """
    large = gpu.memory_bytes >= _LARGE_CARD_BYTES and release(version) >= (0, 28)
    if large:
        return 16384, 1024
    a100 = "a100" in gpu.name.lower() and release(version) >= (0, 9)
    if gpu.memory_bytes >= _MEDIUM_CARD_BYTES and not a100:
        return 8192, 1024 if release(version) >= (0, 8) else 256
    return 2048, 256


def default_gpu_memory_utilization(version: str) -> float:
    """0.92 from vLLM 0.20 on, 0.9 before (vllm/config/cache.py). [1]"""
    return 0.92 if release(version) >= (0, 20) else 0.9


def resolve(
    engine: EngineArgs,
    gpu: Gpu,
    *,
    longest: int,
    weight_format: str,
    kv_cache_dtype: str,
    hybrid: bool = False,
) -> ResolvedEngine:
    """Fill every open field as that vLLM would on that GPU.

    Args:
        engine: The settings as given.
        gpu: The accelerator.
        longest: The model's own maximum length, used where max_model_len is open. [tokens]
        weight_format: Format id of the weights, already resolved.
        kv_cache_dtype: Format id of the KV cache, already resolved.
        hybrid: Whether the model keeps recurrent states; such models cache prefixes by default
            from 0.26 on only (vllm/config/model.py, ``is_prefix_caching_supported``).
    """
    tokens, seqs = default_batch_limits(gpu, engine.version)
    if engine.performance_mode is PerformanceMode.THROUGHPUT:
        tokens, seqs = 2 * tokens, 2 * seqs  # vllm/engine/arg_utils.py:3184
    max_model_len = engine.max_model_len or longest
    chunked = True if engine.enable_chunked_prefill is None else engine.enable_chunked_prefill
    max_num_seqs = engine.max_num_seqs or seqs
    budget = engine.max_num_batched_tokens
    if budget is None:
        budget = tokens if chunked else max(tokens, max_model_len)
        budget = min(budget, max_num_seqs * max_model_len)
    if engine.max_num_seqs is None:
        max_num_seqs = min(max_num_seqs, budget)
    budget = max(budget, max_num_seqs)
    _check_limits(engine, max_num_seqs, max_model_len)
    given = dict(engine)
    given.update(
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        kv_cache_dtype=kv_cache_dtype,
        weight_format=weight_format,
        gpu_memory_utilization=engine.gpu_memory_utilization
        or default_gpu_memory_utilization(engine.version),
        enable_prefix_caching=not hybrid or release(engine.version) >= (0, 26)
        if engine.enable_prefix_caching is None
        else engine.enable_prefix_caching,
        enable_chunked_prefill=chunked,
        async_scheduling=release(engine.version) >= (0, 14)
        if engine.async_scheduling is None
        else engine.async_scheduling,
    )
    for gone in ("quantization", "dtype"):
        given.pop(gone)
    return ResolvedEngine(**given)


def _check_limits(engine: EngineArgs, max_num_seqs: int, max_model_len: int) -> None:
    """Refuse limits that vLLM refuses (vllm/config/scheduler.py, ``verify_max_model_len``).

    Raises:
        InvalidValue: more active sequences than slots, or a threshold above the longest request.
    """
    active, threshold = engine.max_num_active_seqs, engine.long_prefill_token_threshold
    if active is not None and active > max_num_seqs:
        fix = f"give at most max_num_seqs = {max_num_seqs}"
        raise InvalidValue("max_num_active_seqs", active, fix)
    if threshold > max_model_len:
        fix = f"give at most max_model_len = {max_model_len}"
        raise InvalidValue("long_prefill_token_threshold", threshold, fix)
