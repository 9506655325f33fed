"""Fit of the memory overheads to vLLM's start-up logs.

``python -m fitcalc.calibrate.overheads DIR`` reads ``DIR/startup.csv`` and rewrites
calibration/results/memory.toml. Four kinds of observation share the coefficients: what a start took
off its budget beyond the weights we count, and the activation, non-torch and CUDA graph figures that
some logs print.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.gpu import Gpu, Vendor, load_gpu, load_gpus
from fitcalc.catalog.model import LlmModel, load_model
from fitcalc.catalog.overheads import OverheadCoefficients
from fitcalc.errors import FitcalcError
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.kv_groups import has_state
from fitcalc.physics.overheads import gpu_columns, overheads
from fitcalc.physics.weights import Card, rank_weight_bytes
from fitcalc.units import GIB, MIB, Array

UNSTATED_VERSIONS = {"llm-d-incubation/llm-d-planner": "0.11.2"}
"""Version of logs that do not print it, by source, from the figures they share with ones that do."""
UTILIZATIONS = {"openai/gpt-oss-120b 64.38 3.33": 0.95}
"""The log's parts sum to 0.95 of the card, not to the 0.9 printed beside it."""
STARTS = 3
LOSS_GIB = 0.3
FITTED = (
    "sampler_sorted", "sampler_lean", "context", "context_later", "nvlink", "pcie", "fusion",
    "amd", "amd_link", "vision", "graph", "graph_moe", "graph_amd",
)  # fmt: skip
SCALES: Mapping[str, float] = {"sampler_sorted": 1.0, "sampler_lean": 1.0, "graph": MIB,
                               "graph_moe": MIB, "graph_amd": MIB}  # fmt: skip
FIRST: Mapping[str, float] = {"sampler_sorted": 38.0, "sampler_lean": 14.0, "graph": 12.0,
                              "graph_moe": 12.0, "graph_amd": 60.0}  # fmt: skip
HIDDEN = 0.4
START_FREE = {"h100_sxm": (79.18, 78.57), "rtx_3090": (23.56, 23.05)}
"""Total and free memory at start that logs print. [GiB]"""


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
    with path.open(encoding="utf-8", newline="") as file:
        starts = [_start(row) for row in csv.DictReader(file)]
    return tuple(start for start in starts if start is not None)


def _start(row: Mapping[str, str]) -> Start | None:
    version = row["vllm_version"] or next(
        (v for source, v in UNSTATED_VERSIONS.items() if row["source"].startswith(source)), ""
    )
    if not re.match(r"\d", version) or row["confidence"] == "C" or "XPU" in version:
        return None
    try:
        model = load_model(row["model_hf_id"].split(" ")[0])
        gpu = load_gpu(re.split(r" class|/| \(", row["gpu"])[0].replace("-SXM-141GB", ""))
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
    if visible is not None and kv is not None and row["gpu_memory_utilization"]:
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


def residuals(starts: Sequence[Start], c: OverheadCoefficients) -> Array:
    """Seen minus said of every observation, absent ones left out. [GiB]"""
    out = []
    for s in starts:
        columns = gpu_columns((s.gpu,), c)
        over = overheads(s.model, load_weight_format(s.engine.weight_format), s.engine, columns, c)
        said = (
            s.weights + over.in_budget, over.activation, over.non_torch, over.cuda_graph,
        )  # fmt: skip
        seen = (s.consumed, s.activation, s.non_torch, s.cuda_graph)
        out += [(a - np.max(b)) / GIB for a, b in zip(seen, said, strict=True)]
    values = np.array(out)
    return values[~np.isnan(values)]


@dataclass(frozen=True, slots=True)
class OverheadFit:
    """Fitted coefficients with their standard errors, in their own units."""

    coefficients: OverheadCoefficients
    standard_errors: Mapping[str, float]
    observations: int


def fit_overheads(starts: Sequence[Start]) -> OverheadFit:
    """Fit the coefficients by robust least squares, none below zero."""
    from scipy.optimize import least_squares  # noqa: PLC0415 - scipy loads for seconds

    base = _hidden_and_start()

    def law(x: Array) -> OverheadCoefficients:
        values = {n: float(v) * SCALES.get(n, GIB) for n, v in zip(FITTED, x, strict=True)}
        return replace(base, **values)

    def miss(x: Array) -> Array:
        return residuals(starts, law(x))

    first = np.array([FIRST.get(name, HIDDEN) for name in FITTED])
    found = least_squares(miss, first, bounds=(0.0, np.inf), loss="soft_l1", f_scale=LOSS_GIB,
                          x_scale=np.maximum(first, 0.1))  # fmt: skip
    errors = _standard_errors(found.jac, miss(found.x))
    fitted = law(found.x)
    shares = _consumed_shares(starts, fitted)
    fitted = replace(
        fitted,
        residual_p10=float(np.quantile(shares, 0.1)),
        residual_p90=float(np.quantile(shares, 0.9)),
    )
    return OverheadFit(fitted, dict(zip(FITTED, errors, strict=True)), len(miss(found.x)))


def _standard_errors(jacobian: Array, misses: Array) -> list[float]:
    """Root of the diagonal of the covariance; NaN where a coefficient is not determined."""
    degrees = max(len(misses) - jacobian.shape[1], 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * float(misses @ misses) / degrees
    return [float(np.sqrt(v)) if v > 0 else math.nan for v in np.diag(covariance)]


def _consumed_shares(starts: Sequence[Start], c: OverheadCoefficients) -> Array:
    """Seen over said of what is taken off the budget, less 1. [1]"""
    shares = []
    for s in starts:
        if not math.isnan(s.consumed):
            missed = residuals([replace(s, activation=math.nan, non_torch=math.nan,
                                        cuda_graph=math.nan)], c)[0] * GIB  # fmt: skip
            shares.append(missed / (s.consumed - missed))
    return np.array(shares)


def _hidden_and_start() -> OverheadCoefficients:
    """Memory that a process does not see, from the cards whose logs print both totals."""
    cards = [g for g in load_gpus() if g.cuda_memory_bytes and g.capability >= 8]
    memory = np.array([g.memory_bytes for g in cards])
    hidden = memory - np.array([g.cuda_memory_bytes or 0.0 for g in cards])
    share, constant = np.polyfit(memory, hidden, 1)
    taken = np.mean([total - free for total, free in START_FREE.values()]) * GIB
    zero = dict.fromkeys((f.name for f in fields(OverheadCoefficients)), 0.0)
    zero.update(hidden=float(constant), hidden_share=float(share), start=float(taken))
    return OverheadCoefficients(**zero)


def leave_one_out(
    starts: Sequence[Start], key: Callable[[Start], str] = lambda s: s.model.id
) -> dict[str, Array]:
    """Relative error of the consumed memory of each model, fitted without it. [1]"""
    out = {}
    for name in sorted({key(s) for s in starts}):
        rest = [s for s in starts if key(s) != name]
        mine = [s for s in starts if key(s) == name and not math.isnan(s.consumed)]
        if mine:
            out[name] = _consumed_shares(mine, fit_overheads(rest).coefficients)
    return out


_UNITS = {"sampler_sorted": "B", "sampler_lean": "B", "graph": "MiB", "graph_moe": "MiB",
          "graph_amd": "MiB", "hidden_share": "1", "residual_p10": "1",
          "residual_p90": "1"}  # fmt: skip
_HEAD = """\
# Written by `python -m fitcalc.calibrate.overheads`. Not edited by hand.
# Memory of a vLLM rank beside weights and KV cache; the law is fitcalc/physics/overheads.py.

[sources]
startup_logs = {{ title = "vLLM start-up logs in public issues, documents and repositories", where = \
"vllm-project/vllm, llm-d-incubation/llm-d-planner, ashishkamra/vllm-memory-estimator", seen = \
"2026-11-21" }}
totals = {{ title = "Total memory that the driver and a process report, and what is free at start", \
where = "vllm-project/vllm#10511, llm-d-incubation/llm-d-planner", seen = "2026-11-21" }}

# {count} observations of {starts} starts of {models} models
[coefficients]
"""


def render(fit: OverheadFit, starts: Sequence[Start]) -> str:
    """Write the table: value, unit, source and standard error of each coefficient."""
    models = len({s.model.id for s in starts})
    text = _HEAD.format(count=fit.observations, starts=len(starts), models=models)
    for name, value in asdict(fit.coefficients).items():
        unit = _UNITS.get(name, "GiB")
        shown = value / {"B": 1.0, "1": 1.0, "MiB": MIB}.get(unit, GIB)
        source = "totals" if name in ("hidden", "hidden_share", "start") else "startup_logs"
        error = fit.standard_errors.get(name)
        extra = "" if error is None else f", standard_error = {error:.3g}"
        text += f'{name} = {{ value = {shown:.4g}, unit = "{unit}", source = "{source}"{extra} }}\n'
    return text


def main() -> None:
    """Fit, rewrite the table and print how well it holds for models left out."""
    folder, target = Path(sys.argv[1]), Path("calibration/results/memory.toml")
    starts = read_starts(folder / "startup.csv")
    fit = fit_overheads(starts)
    target.write_text(render(fit, starts), encoding="utf-8")
    left_out = leave_one_out(starts)
    shares = np.abs(np.concatenate(list(left_out.values())))
    sys.stdout.write(
        f"{fit.observations} observations of {len(starts)} starts; models left out: consumed memory "
        f"median {np.median(shares):.2%}, p90 {np.quantile(shares, 0.9):.2%}\n"
    )


if __name__ == "__main__":
    main()
