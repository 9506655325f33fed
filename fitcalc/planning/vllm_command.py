"""The ``vllm serve`` line that starts one server with exactly the settings that were predicted."""

from __future__ import annotations

import shlex

from fitcalc.inputs.engine import PerformanceMode, ResolvedEngine, SchedulingPolicy, release

_ASYNC_BY_DEFAULT = (0, 14)


def vllm_command(
    hf_id: str,
    engine: ResolvedEngine,
    *,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
) -> str:
    """Return the shell line of one server, every flag spelled as ``vllm serve`` has it.

    What a prediction depends on is always written out (length, batch limits, memory share), so
    that another version's default cannot move it; other flags appear where they differ from
    vLLM's default. Source: vllm/engine/arg_utils.py, 0.33.0.

    Args:
        hf_id: The checkpoint, as ``vllm serve`` takes it.
        engine: The settings, nothing left open.
        quantization: vLLM's method, where weights are quantized while loading; ``None`` where
            the checkpoint says how it is stored.
        kv_cache_dtype: vLLM's name of the KV cache's format.
    """
    words = ["vllm", "serve", hf_id]
    for name, value in _settings(engine, quantization, kv_cache_dtype):
        words += [f"--{name}"] if value == "" else [f"--{name}", value]
    return shlex.join(words)


def _settings(
    engine: ResolvedEngine, quantization: str | None, kv_cache_dtype: str
) -> list[tuple[str, str]]:
    """Flags in the order a reader expects: layout, formats, limits, switches."""
    rows: list[tuple[str, str, bool]] = [
        *_layout(engine),
        ("quantization", str(quantization), quantization is not None),
        ("dtype", "float16", engine.weight_format == "fp16"),
        ("kv-cache-dtype", kv_cache_dtype, kv_cache_dtype != "auto"),
        ("max-model-len", str(engine.max_model_len), True),
        ("max-num-seqs", str(engine.max_num_seqs), True),
        ("max-num-batched-tokens", str(engine.max_num_batched_tokens), True),
        *_memory(engine),
        *_switches(engine),
    ]
    return [(name, value) for name, value, shown in rows if shown]


def _layout(engine: ResolvedEngine) -> list[tuple[str, str, bool]]:
    sizes = {
        "tensor-parallel-size": engine.tensor_parallel_size,
        "pipeline-parallel-size": engine.pipeline_parallel_size,
        "data-parallel-size": engine.data_parallel_size,
        "decode-context-parallel-size": engine.decode_context_parallel_size,
    }
    rows = [(name, str(size), size > 1) for name, size in sizes.items()]
    return [*rows, ("enable-expert-parallel", "", engine.enable_expert_parallel)]


def _memory(engine: ResolvedEngine) -> list[tuple[str, str, bool]]:
    pinned, offloading = engine.kv_cache_memory_bytes, engine.kv_offloading_size
    return [
        ("gpu-memory-utilization", f"{engine.gpu_memory_utilization:.6g}", pinned is None),
        ("kv-cache-memory-bytes", str(int(pinned or 0)), pinned is not None),
        ("block-size", str(engine.block_size), engine.block_size is not None),
        ("cpu-offload-gb", f"{engine.cpu_offload_gb:.6g}", engine.cpu_offload_gb > 0),
        ("kv-offloading-size", f"{offloading or 0:.6g}", offloading is not None),
    ]


def _switches(engine: ResolvedEngine) -> list[tuple[str, str, bool]]:
    async_default = release(engine.version) >= _ASYNC_BY_DEFAULT
    async_flag = "async-scheduling" if engine.async_scheduling else "no-async-scheduling"
    drafts, mode = engine.num_speculative_tokens, engine.performance_mode.value
    return [
        ("no-enable-prefix-caching", "", not engine.enable_prefix_caching),
        ("no-enable-chunked-prefill", "", not engine.enable_chunked_prefill),
        (async_flag, "", engine.async_scheduling != async_default),
        *_scheduling(engine),
        ("enforce-eager", "", engine.enforce_eager),
        ("performance-mode", mode, engine.performance_mode is not PerformanceMode.BALANCED),
        ("enable-lora", "", engine.enable_lora),
        ("max-loras", str(engine.max_loras), engine.enable_lora),
        ("max-lora-rank", str(engine.max_lora_rank), engine.enable_lora),
        ("spec-method", "mtp", drafts > 0),
        ("spec-tokens", str(drafts), drafts > 0),
    ]


def _scheduling(engine: ResolvedEngine) -> list[tuple[str, str, bool]]:
    active, threshold = engine.max_num_active_seqs, engine.long_prefill_token_threshold
    policy, interval = engine.scheduling_policy, engine.prefill_schedule_interval
    return [
        ("scheduling-policy", policy.value, policy is not SchedulingPolicy.FCFS),
        ("max-num-active-seqs", str(active), active is not None),
        ("long-prefill-token-threshold", str(threshold), threshold > 0),
        ("prefill-schedule-interval", str(interval), interval > 1),
        ("watermark", f"{engine.watermark:.6g}", engine.watermark > 0),
    ]
