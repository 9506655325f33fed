"""Fit of the memory overheads to vLLM's start-up logs.

``fitcalc calibrate --memory DIR`` reads ``DIR/startup.csv`` and rewrites
calibration/results/memory.toml. Four kinds of observation share the coefficients: what a start took
off its budget beyond the weights we count, and the activation, non-torch and CUDA graph figures
that some logs print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitcalc.calibrate.rebuild import RESULTS, write
from fitcalc.calibrate.starts import Start, read_starts
from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.gpu import load_gpu, load_gpus
from fitcalc.catalog.model import load_model
from fitcalc.catalog.overheads import OverheadCoefficients
from fitcalc.inputs.engine import EngineArgs, resolve
from fitcalc.physics.activation import LARGEST_IMAGE_PATCHES
from fitcalc.physics.overheads import gpu_columns, overheads
from fitcalc.physics.weights import rank_weight_bytes
from fitcalc.units import GIB, MIB, Array

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
FIRST_ENCODER = 60.0
TOWER = ("qwen3-vl-30b-a3b-instruct", "a100_sxm_80gb", 0.9, "0.11.0", 8.04)
"""A start whose vision tower decides the peak: model, GPU, utilization, version and the KV memory
[GiB] that its log prints (public notes on deploying Qwen3-VL; it failed at 262,144 tokens)."""
START_FREE = {"h100_sxm": (79.18, 78.57), "rtx_3090": (23.56, 23.05)}
"""Total and free memory at start that logs print. [GiB]"""


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
    values: Array = np.array(out, dtype=np.float64)
    kept: Array = values[~np.isnan(values)]
    return kept


@dataclass(frozen=True, slots=True)
class OverheadFit:
    """Fitted coefficients with their standard errors, in their own units."""

    coefficients: OverheadCoefficients
    standard_errors: Mapping[str, float]
    observations: int


def fit_overheads(starts: Sequence[Start]) -> OverheadFit:
    """Fit the coefficients by robust least squares, none below zero."""
    from scipy.optimize import least_squares  # noqa: PLC0415 - scipy loads for seconds

    base = replace(_hidden_and_start(), encoder=FIRST_ENCODER)

    def law(x: Array) -> OverheadCoefficients:
        values = {n: float(v) * SCALES.get(n, GIB) for n, v in zip(FITTED, x, strict=True)}
        return replace(base, **values)

    def miss(x: Array) -> Array:
        return residuals(starts, law(x))

    first = np.array([FIRST.get(name, HIDDEN) for name in FITTED])
    found = least_squares(miss, first, bounds=(0.0, np.inf), loss="soft_l1", f_scale=LOSS_GIB,
                          x_scale=np.maximum(first, 0.1))  # fmt: skip
    count = len(miss(found.x))
    variance = 2.0 * float(found.cost) / max(count - len(FITTED), 1)
    jacobian = np.asarray(found.jac, dtype=np.float64)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    c = law(found.x)
    c = replace(c, encoder=_encoder(c))
    return OverheadFit(c, dict(zip(FITTED, map(float, errors), strict=True)), count)


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


def _encoder(c: OverheadCoefficients) -> float:
    """Peak of a vision tower per patch and hidden unit, from the start ``TOWER``. [B]"""
    name, card, utilization, version, seen = TOWER
    model, gpu = load_model(name), load_gpu(card)
    args = EngineArgs(gpu_memory_utilization=utilization, version=version)
    engine = resolve(args, gpu, longest=model.max_position_embeddings, weight_format="bf16",
                     kv_cache_dtype="bf16")  # fmt: skip
    consumed = utilization * float(gpu_columns((gpu,), c).visible[0]) - seen * GIB
    weights = rank_weight_bytes(model).bytes
    start = Start(name, model, gpu, engine, weights, consumed, math.nan, math.nan, math.nan)
    hidden = next(t.cols for t in model.outer if t.name == "visual.qkv")
    missed = float(residuals([start], c)[0]) * GIB
    return c.encoder + missed / (LARGEST_IMAGE_PATCHES * hidden)


def leave_one_out(starts: Sequence[Start]) -> dict[str, Array]:
    """Relative error of the consumed memory of each model, fitted without it. [1]"""
    out = {}
    for name in sorted({s.model.id for s in starts}):
        rest = [s for s in starts if s.model.id != name]
        mine = [s for s in starts if s.model.id == name and not math.isnan(s.consumed)]
        if mine:
            out[name] = _consumed_shares(mine, fit_overheads(rest).coefficients)
    return out


def interval(left_out: Mapping[str, Array]) -> tuple[float, float]:
    """Return the p10 and p90 of errors of models left out, each model counting once. [1]

    Starts of one model miss alike: counted one by one, the models with most logs would decide.
    """
    errors = np.concatenate(list(left_out.values()))
    weights = np.concatenate([np.full(len(e), 1.0 / len(e)) for e in left_out.values()])
    order = np.argsort(errors)
    ranks = (np.cumsum(weights[order]) - weights[order] / 2.0) / weights.sum()
    low, high = np.interp((0.1, 0.9), ranks, errors[order])
    return float(low), float(high)


def coverage(left_out: Mapping[str, Array]) -> float:
    """Return the share of models' starts within the interval that the other models give. [1]"""
    inside = []
    for name, errors in left_out.items():
        low, high = interval({k: e for k, e in left_out.items() if k != name})
        inside.append(np.mean((errors >= low) & (errors <= high)))
    return float(np.mean(inside))


_UNITS = {"sampler_sorted": "B", "sampler_lean": "B", "encoder": "B", "graph": "MiB",
          "graph_moe": "MiB", "graph_amd": "MiB", "hidden_share": "1", "residual_p10": "1",
          "residual_p90": "1"}  # fmt: skip
_HEAD = """\
# Written by `fitcalc calibrate --memory`. Not edited by hand.
# Memory of a vLLM rank beside weights and KV cache; the law is fitcalc/physics/overheads.py.

[sources.startup_logs]
title = "vLLM start-up logs in public issues, documents and repositories"
where = "vllm-project/vllm, llm-d-incubation/llm-d-planner, ashishkamra/vllm-memory-estimator"
seen = "2026-11-21"

[sources.totals]
title = "Total memory that the driver and a process report, and what is free at start"
where = "vllm-project/vllm#10511, llm-d-incubation/llm-d-planner"
seen = "2026-11-21"

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


class MemoryErrors(NamedTuple):
    """How far a fit is off what starts of models left out consumed.

    Attributes:
        observations: What the fit has seen. [1]
        median: Median of abs(predicted / logged - 1). [1]
        p90: Its 90th percentile. [1]
        coverage: Share of models' starts inside the interval that the others give. [1]
    """

    observations: int
    median: float
    p90: float
    coverage: float


def rebuild_overheads(folder: Path) -> MemoryErrors:
    """Fit to the logs of ``startup.csv``, rewrite the table, and say how well it holds."""
    starts = read_starts(folder / "startup.csv")
    left_out = leave_one_out(starts)
    low, high = interval(left_out)
    fit = fit_overheads(starts)
    known = replace(fit.coefficients, residual_p10=low, residual_p90=high)
    write(RESULTS / "memory.toml", render(replace(fit, coefficients=known), starts))
    shares = np.abs(np.concatenate(list(left_out.values())))
    median, p90 = np.quantile(shares, (0.5, 0.9)).tolist()
    return MemoryErrors(fit.observations, median, p90, coverage(left_out))
