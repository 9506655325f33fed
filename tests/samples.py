"""Answers made by hand, for tests of what is done with an answer."""

from __future__ import annotations

from fitcalc.answers import (
    Bottleneck,
    Calibrated,
    Interval,
    Limit,
    MemoryLedger,
    Percentiles,
    Prediction,
)
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Choice, Plan, PlanQuestion, RejectedChoice
from fitcalc.planning.judged import Judged, Quality

ENGINE = ResolvedEngine(
    tensor_parallel_size=4,
    pipeline_parallel_size=1,
    data_parallel_size=1,
    decode_context_parallel_size=1,
    enable_expert_parallel=False,
    weight_format="fp8",
    kv_cache_dtype="fp8",
    max_model_len=8192,
    max_num_seqs=256,
    max_num_batched_tokens=8192,
    gpu_memory_utilization=0.92,
    kv_cache_memory_bytes=None,
    block_size=None,
    enable_prefix_caching=True,
    enable_chunked_prefill=True,
    async_scheduling=True,
    enforce_eager=False,
    cpu_offload_gb=0.0,
    num_speculative_tokens=0,
    version="0.33.0",
)
PREDICTION = Prediction(
    stable=True,
    ttft_ms=Percentiles(mean=640.0, p50=520.0, p90=1100.0, p95=1420.0, p99=2300.0),
    itl_ms=Percentiles(mean=31.0, p50=24.0, p90=62.0, p95=71.0, p99=88.0),
    tpot_ms=Percentiles(mean=31.0, p50=30.5, p90=35.0, p95=36.0, p99=39.0),
    e2e_ms=Percentiles(mean=32_000.0, p50=31_800.0, p90=36_000.0, p95=38_000.0, p99=41_000.0),
    requests_per_s=1.25,
    output_tokens_per_s=1280.0,
    total_tokens_per_s=10_240.0,
    steady_batch=40.6,
    utilization=0.71,
    kv_cache_tokens=1_450_000.0,
    max_concurrency=177.0,
    kv_cache_usage=0.22,
    bottleneck=Bottleneck.COMPUTE,
    shares={Bottleneck.COMPUTE: 0.6, Bottleneck.WEIGHT_BANDWIDTH: 0.3, Bottleneck.QUEUE: 0.1},
    calibrated=Calibrated.MEASURED,
    method="closed_form",
    interval=Interval(ttft_ms=(560.0, 760.0), tpot_ms=(28.0, 34.0)),
)
MEMORY = MemoryLedger(
    gpu_memory_bytes=80e9,
    weights_bytes=18e9,
    activation_bytes=1e9,
    non_torch_bytes=1e9,
    cuda_graph_bytes=1e9,
    kv_cache_bytes=53e9,
    unused_bytes=6e9,
    kv_bytes_per_token=40_960.0,
    kv_cache_tokens=1_450_000.0,
    max_concurrency=177.0,
    max_model_len=8192,
    max_model_len_fit=131_072,
    num_gpu_blocks=90_000,
    block_size=16,
    kv_cache_bytes_p10=52e9,
    kv_cache_bytes_p90=54e9,
    fits="yes",
)
BEST = Choice(
    gpu="h100_sxm",
    gpu_count=64,
    replicas=16,
    engine=ENGINE,
    prediction=PREDICTION,
    memory=MEMORY,
    usd_per_hour=192.0,
    usd_per_million_input_tokens=0.372,
    usd_per_million_output_tokens=2.6,
    usd_per_million_tokens=0.325,
    price_source="nebius gpu-h100-sxm_8gpu, 2026-07-20",
    gpus_bought=64,
    idle_share=0.2,
    vllm_command="vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4 "
    "--quantization fp8 --kv-cache-dtype fp8 --max-model-len 8192 --max-num-seqs 256 "
    "--max-num-batched-tokens 8192 --gpu-memory-utilization 0.92",
    headroom=0.2,
    notes=("weights are quantized while loading",),
    quality=Quality(
        weights=Judged(format="fp8", recovery=0.997),
        kv_cache=Judged(format="fp8", recovery=0.97),
        checkpoints=(),
    ),
)
SECOND = BEST.model_copy(
    update={"gpu": "h200_sxm", "gpu_count": 48, "replicas": 12, "usd_per_hour": 216.0}
)
UNPRICED = BEST.model_copy(
    update={
        "gpu": "mi300x",
        "usd_per_hour": None,
        "usd_per_million_input_tokens": None,
        "usd_per_million_output_tokens": None,
        "gpus_bought": None,
        "usd_per_million_tokens": None,
        "price_source": "",
    }
)
QUESTION = PlanQuestion(
    model="llama-3.1-70b-instruct",
    hf_id="meta-llama/Llama-3.1-70B-Instruct",
    traffic=Traffic(qps=20, isl=7168, osl=1024),
    slo=Slo(),
    headroom=0.2,
    max_model_len=8192,
    gpus=("h100_sxm", "h200_sxm", "mi300x", "rtx4090"),
    weight_formats=("bf16", "fp8"),
    max_gpus=None,
    budget_usd_per_hour=None,
    min_quality=None,
    buying=Buying(),
    currency="USD",
    usd_per_unit=1.0,
    version="0.33.0",
    defaults=("headroom", "gpus", "ttft_ms", "version"),
)


def rejected(gpu: str, limit: Limit, needed: float, available: float) -> RejectedChoice:
    """Make a configuration that lost."""
    return RejectedChoice(
        gpu=gpu,
        tensor_parallel_size=1,
        pipeline_parallel_size=1,
        weight_format="bf16",
        kv_cache_dtype="bf16",
        limit=limit,
        needed=needed,
        available=available,
        reason=f"{limit.value} by hand.",
    )


LOST = (
    rejected("rtx4090", Limit.MEMORY, 141e9, 24e9),
    rejected("h100_sxm", Limit.MEMORY, 141e9, 80e9),
    rejected("l40s", Limit.TTFT, 2600.0, 2000.0),
)
PLAN = Plan(question=QUESTION, best=BEST, alternatives=(SECOND, UNPRICED), rejections=LOST)
NOTHING = Plan(question=QUESTION, best=None, alternatives=(), rejections=LOST, closest=LOST[2])
