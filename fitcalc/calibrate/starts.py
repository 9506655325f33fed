"""Start-up logs of vLLM: what ran, and the memory figures its log printed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fitcalc.calibrate.tables import read_rows
from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.gpu import Gpu, Vendor, load_gpu
from fitcalc.catalog.model import LlmModel, load_model
from fitcalc.errors import FitcalcError
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.kv_layers import has_state
from fitcalc.physics.weights import Card, rank_weight_bytes
from fitcalc.units import GIB

UNSTATED_VERSIONS = {"llm-d-incubation/llm-d-planner": "0.11.2"}
"""Version of logs that print none, by source, from figures they share with logs that do."""
UTILIZATIONS = {"openai/gpt-oss-120b 64.38 3.33": 0.95}
"""The log's parts sum to 0.95 of the card, not to the 0.9 printed beside it."""
STAND_INS = {
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": "Qwen/Qwen3-8B",
    "RTX 2080 Ti 22GB (modded)": "rtx_3090",
}
"""Models and cards without a table, by one that is alike in what the log's figures depend on."""
COLUMNS = (
    "model_hf_id", "gpu", "tp", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "gpu_memory_utilization", "vllm_version", "weights_gib", "kv_available_gib",
    "activation_peak_gib", "non_torch_gib", "cudagraph_gib", "source", "note", "confidence",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """One start of vLLM: what ran, and what its log says. Sizes in B, absent ones NaN."""

    name: str
    model: LlmModel
    gpu: Gpu
    engine: ResolvedEngine
    weights: float
    consumed: float
    activation: float
    non_torch: float
    cuda_graph: float


def read_starts(path: Path) -> tuple[Start, ...]:
    """Read the logs whose model, GPU and version are known."""
    starts = [_start(row) for row in read_rows(path, COLUMNS)]
    return tuple(start for start in starts if start is not None)


def _start(row: Mapping[str, str]) -> Start | None:
    version = row["vllm_version"] or next(
        (v for source, v in UNSTATED_VERSIONS.items() if row["source"].startswith(source)), ""
    )
    if not re.match(r"\d", version) or row["confidence"] == "C" or "XPU" in version:
        return None
    try:
        name = row["model_hf_id"].split(" ")[0]
        model = load_model(STAND_INS.get(name, name))
        card = re.split(r" class|/| \(", row["gpu"])[0].replace("-SXM-141GB", "")
        gpu = load_gpu(STAND_INS.get(row["gpu"], card))
    except FitcalcError:
        return None
    args = EngineArgs(
        tensor_parallel_size=int(_number(row["tp"]) or 1),
        max_model_len=_count(row["max_model_len"]),
        max_num_seqs=_count(row["max_num_seqs"]),
        max_num_batched_tokens=_count(row["max_num_batched_tokens"]),
        gpu_memory_utilization=_utilization(row),
        enable_expert_parallel="enable-expert-parallel" in row["note"] or "EP4" in row["note"],
        enforce_eager="enforce-eager" in row["note"],
        version=version,
    )
    own = model.quantization.format if model.quantization else "bf16"
    engine = resolve(
        args, gpu, longest=model.max_position_embeddings, weight_format=own, kv_cache_dtype="bf16",
        hybrid=has_state(model),
    )  # fmt: skip
    weights = rank_weight_bytes(
        model, load_weight_format(own), tp=args.tensor_parallel_size,
        enable_expert_parallel=args.enable_expert_parallel,
        gpu=Card(gpu.capability, rocm=gpu.vendor is Vendor.AMD),
    ).bytes  # fmt: skip
    printed = {k: _number(row[f"{k}_gib"]) for k in ("kv_available", "activation_peak", "non_torch",
                                                     "cudagraph")}  # fmt: skip
    visible = gpu.cuda_memory_bytes or (gpu.memory_bytes if gpu.vendor is Vendor.AMD else None)
    kv, consumed = printed["kv_available"], math.nan
    known = row["gpu_memory_utilization"] and row["gpu"] not in STAND_INS
    if visible is not None and kv is not None and known:
        consumed = engine.gpu_memory_utilization * visible - kv * GIB
    return Start(
        f"{row['model_hf_id']} tp{args.tensor_parallel_size} {gpu.id} {version}", model, gpu,
        engine, weights, consumed,
        *(_bytes(printed[k]) for k in ("activation_peak", "non_torch", "cudagraph")),
    )  # fmt: skip


def _utilization(row: Mapping[str, str]) -> float | None:
    key = f"{row['model_hf_id']} {row['weights_gib']} {row['kv_available_gib']}"
    return UTILIZATIONS.get(key) or _number(row["gpu_memory_utilization"])


def _number(text: str) -> float | None:
    return float(text) if text else None


def _count(text: str) -> int | None:
    return int(float(text)) if text else None


def _bytes(gib: float | None) -> float:
    return math.nan if gib is None else gib * GIB
