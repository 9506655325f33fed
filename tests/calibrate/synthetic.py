"""Folders as ``fitcalc calibrate --device`` writes them, made from known coefficients."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.laws import AttentionDecodeLaw, AttentionPrefillLaw, GemmLaw, MemoryLaw
from fitcalc.physics.attention import attention_decode_s, attention_prefill_s
from fitcalc.physics.kernels import gemm_s, memory_bound_s
from fitcalc.units import Array, Values

TRUTH: Mapping[str, Mapping[str, float]] = {
    "gemm": {
        "eta_flops": 0.6, "eta_bandwidth": 0.75, "t0_s": 6e-6, "rows_half": 30.0, "passes": 2.0,
        "depth_half": 300.0, "tail": 5e5, "depth_s": 5e-10, "unfilled": 0.4,
    },
    "attention_decode": {"eta_bandwidth": 0.7, "t0_s": 1.5e-5, "sequence_tokens": 80.0},
    "attention_prefill": {
        "eta_flops": 0.5, "t0_s": 2e-5, "length_half": 700.0, "tail": 4e4, "passes": 20.0,
    },
    "glue": {"eta_bandwidth": 0.65, "t0_s": 3e-6},
}  # fmt: skip
NOISE = 0.03


def grid(**axes: Sequence[float]) -> dict[str, Array]:
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, mesh, strict=True)}


def device_folder(
    folder: Path, gpu: Gpu, system: str, *, noise: float = NOISE, dtype: str = "bfloat16"
) -> Path:
    """Write gemm, attention, elementwise and bandwidth rows of a GPU that follows ``TRUTH``."""
    peak, bandwidth = gpu.peak_flops["bf16"], gpu.memory_bandwidth
    rng = np.random.default_rng(0)

    def write(name: str, cells: Mapping[str, Array | str], seconds: Values, unit: float) -> None:
        noisy = np.asarray(seconds) * rng.lognormal(0.0, noise, np.shape(seconds)) / unit
        latency = "latency_ms" if unit > 1e-4 else "latency_us"
        header = ["system", "backend", *cells, latency, "measured_at"]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([header, ["unit"] + ["-"] * (len(header) - 1)])
            for i, us in enumerate(noisy.tolist()):
                row = [c if isinstance(c, str) else f"{c[i]:g}" for c in cells.values()]
                writer.writerow([system, "torch-2.13.0", *row, us, "2026-11-21T10:00:00+00:00"])

    at = grid(
        m=[1, 4, 16, 17, 64, 65, 129, 256, 1024, 8192], n=[1024, 4096, 28672], k=[4096, 14336, 8192]
    )
    gemm = GemmLaw(peak, bandwidth, **TRUTH["gemm"])
    write("gemm", {"dtype": dtype, **at}, gemm_s(at["m"], at["n"], at["k"], 2.0, gemm), 1e-3)
    fixed = {"head_dim": "128", "kv_dtype": "bfloat16"}
    at = grid(batch_size=[1, 4, 16, 64, 256], ctx=[256, 1024, 4096, 16384], kv_heads=[2, 8])
    heads = {"num_heads": "32", **fixed}
    decode = AttentionDecodeLaw(peak, bandwidth, eta_flops=0.5, **TRUTH["attention_decode"])
    batch = at["batch_size"]
    times = attention_decode_s(batch, batch * at["ctx"], 32, 128, 512.0 * at["kv_heads"], decode)
    write("attn_decode", {**at, **heads}, times, 1e-6)
    at = grid(batch_size=[1, 4, 16], isl=[128, 512, 2048, 8192], num_heads=[8, 32], kv_heads=[1, 4])
    prefill = AttentionPrefillLaw(peak, bandwidth, **TRUTH["attention_prefill"])
    tokens = at["batch_size"] * at["isl"]
    pairs, kv_bytes = tokens * at["isl"] / 2, 512.0 * at["kv_heads"]
    times = attention_prefill_s(pairs, tokens, at["num_heads"], 128, kv_bytes, prefill)
    write("attn_prefill", {**at, **fixed}, times, 1e-6)
    at = grid(bytes=[float(2**power) for power in range(14, 31)])
    glue = MemoryLaw(bandwidth, **TRUTH["glue"])
    write("elementwise", at, memory_bound_s(at["bytes"], glue), 1e-6)
    at = grid(bytes=[2.0**28, 2.0**30])
    write("bandwidth", {"op": "copy", **at}, at["bytes"] / (0.9 * bandwidth), 1e-6)
    return folder


def facts(folder: Path, **cells: str | int) -> None:
    """Write facts.toml."""
    lines = [f"{k} = {f'{v!r}' if isinstance(v, str) else v}" for k, v in cells.items()]
    (folder / "facts.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
