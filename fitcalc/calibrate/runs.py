"""Serving runs that others measured: what was asked of which server, and what its users felt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fitcalc.answers import Rejection
from fitcalc.calibrate.tables import read_rows
from fitcalc.errors import TableError
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.setup import Setup, set_up
from fitcalc.units import MILLI

Row = Mapping[str, str]
RUN = (
    "model_path", "system", "precision", "isl", "osl", "conc", "tp_size", "moe_ep_size", "ttft_ms",
    "tpot_ms", "backend_version", "origin", "measured",
)  # fmt: skip
SERVER = (
    "model_path", "system", "precision", "vllm_version", "gpu_memory_utilization", "max_model_len",
    "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "async_scheduling",
)  # fmt: skip
ROUNDS = 10
"""Prompts a client sends in InferenceX's benchmark_serving.py calls. [1]"""
SHORTEST = 0.8
"""Its lengths are uniform between this share and the whole of the nominal length. [1]"""
LATE = "2026-04"
"""Month in which the benchmark's scripts changed several settings."""
ASKED = {"fp8": "fp8", "fp4": "nvfp4", "int4": None, "bf16": None}
ANSWERED = {("meta-llama/Llama-3.1-70B", "h100_sxm"): {"kv_cache_dtype": "auto"}}
"""Settings that the runs contradict. With FP8 KV 64 requests of 1k/8k would never wait on two H100
(0.4 s to the first token); measured are 31 s, as with 16-bit KV (30 s)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a closed loop: the server, its load, and the means measured. [s]"""

    model: str
    gpu: str
    precision: str
    setup: Setup
    traffic: Traffic
    ttft_s: float
    tpot_s: float


def read_runs(folder: Path) -> tuple[Run, ...]:
    """Read ``e2e_vllm.csv`` with the servers' settings, ``e2e_settings.csv``.

    Raises:
        TableError: a table is missing, or a run's server would not start.
    """
    settings = {
        (row["model_path"], row["precision"], row["system"]): row
        for row in read_rows(folder / "e2e_settings.csv", SERVER)
    }
    return tuple(_run(row, settings) for row in read_rows(folder / "e2e_vllm.csv", RUN))


def _run(row: Row, settings: Mapping[tuple[str, str, str], Row]) -> Run:
    key = row["model_path"], row["precision"], row["system"]
    if key not in settings:
        raise TableError(f"runs e2e_settings.csv has no server for {' '.join(key)}.")
    model = "llama-3.1-70b" if "Llama-3.1-70B" in key[0] else key[0]
    setup = set_up(model, key[2], engine_args(row, settings[key]))
    if isinstance(setup, Rejection):
        raise TableError(f"runs {' '.join(key)} cannot be: {setup.reason}.")
    return Run(
        model=key[0].split("/")[-1],
        gpu=setup.gpu.id,
        precision=key[1],
        setup=setup,
        traffic=_traffic(row),
        ttft_s=float(row["ttft_ms"]) * MILLI,
        tpot_s=float(row["tpot_ms"]) * MILLI,
    )


def engine_args(row: Row, server: Row) -> EngineArgs:
    """Return the settings of the server that a run met."""
    quantization = "mxfp4" if "gpt-oss" in row["model_path"] else ASKED[row["precision"]]
    say = {name: _then(server[name], row) for name in server}
    given: dict[str, object] = {
        "tensor_parallel_size": int(float(row["tp_size"])),
        "enable_expert_parallel": float(row["moe_ep_size"]) > 1,
        "quantization": quantization,
        "enable_prefix_caching": False,
        "gpu_memory_utilization": float(say["gpu_memory_utilization"]),
        "kv_cache_dtype": say["kv_cache_dtype"],
        "max_model_len": _length(say["max_model_len"], row),
        "max_num_seqs": _count(say["max_num_seqs"], row),
        "max_num_batched_tokens": _count(say["max_num_batched_tokens"], row),
        "async_scheduling": True if say["async_scheduling"] == "on" else None,
    }
    version = row["backend_version"] if say["vllm_version"] == "see row" else say["vllm_version"]
    if re.match(r"\d", version):
        given["version"] = version.split("|")[0]
    given.update(ANSWERED.get((row["model_path"], row["system"]), {}))
    return EngineArgs.model_validate({name: v for name, v in given.items() if v is not None})


def _then(cell: str, row: Row) -> str:
    """Read ``now (then before April 2026)`` at the time of the run.

    Examples:
        >>> _then("fp8 (auto before April 2026)", {"measured": "2026-03-28"})
        'auto'
        >>> _then("fp8 (auto before April 2026)", {"measured": "2026-04-22"})
        'fp8'
    """
    found = re.fullmatch(r"(.+?) \((.+) before April 2026\)", cell)
    if found is None:
        return cell
    return found[2] if row["measured"] < LATE else found[1]


def _count(cell: str, row: Row) -> int | None:
    """Read a number, ``conc``, ``2*isl``, or ``default``."""
    named = {"default": None, "conc": int(float(row["conc"])), "2*isl": 2 * int(row["isl"])}
    return named[cell] if cell in named else int(cell)


def _length(cell: str, row: Row) -> int:
    """Read a length, or what the scripts add to that of the longest request. [tokens]"""
    isl, osl = int(row["isl"]), int(row["osl"])
    if cell.startswith("isl+osl+20"):
        return isl + osl + (20 if isl == osl else 200)
    return isl + osl + 256 if "isl+osl" in cell else int(cell)


def _traffic(row: Row) -> Traffic:
    clients = int(float(row["conc"]))
    fixed = "auto-gap" in row["origin"]

    def spread(nominal: int) -> Lengths:
        shortest = int(SHORTEST * nominal)
        return Lengths.fixed(nominal) if fixed else Lengths.uniform(shortest, nominal)

    return Traffic(
        concurrency=clients,
        num_requests=ROUNDS * clients,
        isl=spread(int(row["isl"])),
        osl=spread(int(row["osl"])),
    )
