"""Choices of every kind, for tests of the files that start them."""

from __future__ import annotations

from fitcalc.inputs.engine import PerformanceMode, ResolvedEngine, SchedulingPolicy
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Plan
from fitcalc.planning.vllm_command import vllm_command
from tests.samples import BEST, ENGINE, PLAN

LLAMA = "meta-llama/Llama-3.1-70B-Instruct"
HOSTILE = "org/a b'; rm -rf $(HOME) `id` # \n- x: 1"
ONE = ENGINE.replace(tensor_parallel_size=1, weight_format="bf16", kv_cache_dtype="bf16")


def case(
    engine: ResolvedEngine,
    *,
    model: str = LLAMA,
    gpu: str = "h100_sxm",
    named: str | None = None,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    traffic: Traffic | None = None,
) -> Plan:
    """Make a plan whose best choice has these settings."""
    command = vllm_command(
        named or model, engine, quantization=quantization, kv_cache_dtype=kv_cache_dtype
    )
    best = BEST.model_copy(
        update={
            "engine": engine,
            "gpu": gpu,
            "gpu_count": engine.gpus * BEST.replicas,
            "vllm_command": command,
        }
    )
    asked = {"hf_id": model, "model": model, "traffic": traffic or PLAN.question.traffic}
    question = PLAN.question.model_copy(update=asked)
    return PLAN.model_copy(update={"question": question, "best": best})


SCHEDULED = {
    "enable_prefix_caching": False,
    "async_scheduling": False,
    "enforce_eager": True,
    "scheduling_policy": SchedulingPolicy.PRIORITY,
    "max_num_active_seqs": 64,
    "long_prefill_token_threshold": 2048,
    "prefill_schedule_interval": 2,
    "watermark": 0.01,
    "performance_mode": PerformanceMode.THROUGHPUT,
    "block_size": 32,
}
CASES: dict[str, Plan] = {
    "dense": case(ONE),
    "fp8": case(ENGINE, quantization="fp8", kv_cache_dtype="fp8"),
    "experts": case(
        ENGINE.replace(data_parallel_size=2, enable_expert_parallel=True),
        model="deepseek-ai/DeepSeek-V3",
        gpu="h200_sxm",
    ),
    "replicated": case(ONE.replace(data_parallel_size=4)),
    "stages": case(
        ENGINE.replace(
            tensor_parallel_size=2, pipeline_parallel_size=2, enable_chunked_prefill=False
        )
    ),
    "drafts": case(ENGINE.replace(num_speculative_tokens=3), model="deepseek-ai/DeepSeek-V3"),
    "adapters": case(ONE.replace(enable_lora=True, max_loras=4, max_lora_rank=64)),
    "scheduled": case(ONE.replace(**SCHEDULED)),
    "offloaded": case(ONE.replace(cpu_offload_gb=10.5, kv_offloading_size=40.0)),
    "pinned": case(ONE.replace(kv_cache_memory_bytes=5e9)),
    "context parallel": case(
        ENGINE.replace(decode_context_parallel_size=2), kv_cache_dtype="fp8_e5m2"
    ),
    "placeholder": case(ONE.replace(weight_format="awq_int4"), named=f"{LLAMA}-awq_int4"),
    "amd": case(ONE, gpu="mi300x"),
    "clients": case(ONE, traffic=Traffic(concurrency=100, isl=Lengths.uniform(500, 1500), osl=200)),
    "prefix": case(ONE, traffic=Traffic(qps=3, isl=2000, osl=200, prefix_tokens=1500)),
    "hostile": case(ONE, model=HOSTILE),
}
