"""What fitcalc answers with: predictions, ledgers, and a no with its numbers."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """A frozen row of an answer or a question; its fields are the JSON's keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Calibrated(StrEnum):
    """Where a GPU's efficiencies come from, the nearest first."""

    OWN = "measured (own)"
    MEASURED = "measured"
    TRANSFERRED = "transferred"
    DATASHEET = "datasheet"


class Limit(StrEnum):
    """Why a configuration loses."""

    MEMORY = "memory"
    TTFT = "ttft"
    ITL = "itl"
    E2E = "e2e"
    SATURATION = "saturation"
    DIVISIBILITY = "divisibility"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNSUPPORTED_GPU = "unsupported_gpu"
    CONTEXT = "context"
    BUDGET = "budget"
    MAX_GPUS = "max_gpus"
    PRICE = "price"


class Bottleneck(StrEnum):
    """What most of the time, or the next request, waits for."""

    COMPUTE = "compute"
    WEIGHT_BANDWIDTH = "weight_bandwidth"
    KV_BANDWIDTH = "kv_bandwidth"
    KV_CAPACITY = "kv_capacity"
    LINK = "link"
    HOST = "host"
    QUEUE = "queue"


class Terms(StrEnum):
    """How an instance is paid for."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"
    OWNED = "owned"


class Percentiles(Row):
    """Mean and percentiles of one latency. [ms]"""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    def at(self, percentile: float) -> float:
        """Return the value at 50, 90, 95 or 99, or between them by straight line. [ms]"""
        known = [(50.0, self.p50), (90.0, self.p90), (95.0, self.p95), (99.0, self.p99)]
        for (low, a), (high, b) in pairwise(known):
            if percentile <= high:
                share = max(0.0, percentile - low) / (high - low)
                return a + (b - a) * share
        return self.p99


class Interval(Row):
    """The 80 % interval of a mean, from the residuals of held-out runs. [ms]"""

    ttft_ms: tuple[float, float]
    tpot_ms: tuple[float, float]


class Prediction(Row):
    """What a replica's users would feel. Latencies in ms, rates per second and replica.

    ``ttft_ms`` arrival to first token; ``itl_ms`` the gaps between output tokens; ``tpot_ms``
    (e2e - ttft) / (osl - 1) of a request; ``e2e_ms`` arrival to last token. ``shares`` says what a
    request's whole time goes to, the queue and the wait for KV cache included; they sum to 1.
    ``prefix_hit`` is the share of prompt tokens that the prefix cache serves.
    """

    stable: bool
    ttft_ms: Percentiles
    itl_ms: Percentiles
    tpot_ms: Percentiles
    e2e_ms: Percentiles
    requests_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    steady_batch: float
    utilization: float
    kv_cache_tokens: float
    max_concurrency: float
    kv_cache_usage: float
    bottleneck: Bottleneck
    shares: dict[Bottleneck, float]
    calibrated: Calibrated
    method: Literal["closed_form", "simulation"]
    interval: Interval
    prefix_hit: float = 0.0


class MemoryLedger(Row):
    """One rank's memory, summing to the card. [B]

    ``gpu_memory_bytes`` = weights + activation + non-torch + CUDA graphs + KV cache + unused.
    ``kv_bytes_per_token`` is this rank's share; ``max_concurrency`` counts requests of
    ``max_model_len`` tokens; ``kv_cache_tokens`` = max_concurrency x max_model_len, as vLLM logs;
    ``max_model_len_fit`` is the longest single request that fits. ``lora_bytes`` are part of the
    weights, ``reserved_bytes`` (kept by other processes) part of what is unused.
    """

    gpu_memory_bytes: float
    weights_bytes: float
    activation_bytes: float
    non_torch_bytes: float
    cuda_graph_bytes: float
    kv_cache_bytes: float
    unused_bytes: float
    kv_bytes_per_token: float
    kv_cache_tokens: float
    max_concurrency: float
    max_model_len: int
    max_model_len_fit: int
    num_gpu_blocks: int
    block_size: int
    kv_cache_bytes_p10: float
    kv_cache_bytes_p90: float
    fits: Literal["yes", "tight"]
    lora_bytes: float = 0.0
    reserved_bytes: float = 0.0
    notes: tuple[str, ...] = ()


class Rejection(Row):
    """A configuration that cannot serve the question, and by how much. Falsy."""

    limit: Limit
    needed: float
    available: float
    reason: str

    def __bool__(self) -> bool:
        """A rejection is a no."""
        return False
