"""Which measured rows stand for which law: one GPU, one format, one engine.

vLLM's rows wherever they can be trusted. They cannot for fp8_block GEMMs, which were timed without
CUDA graphs (a floor of 50 to 400 us): there SGLang's, else TensorRT-LLM's, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.calibrate.tables import Table
from fitcalc.units import BITS_PER_BYTE, MIB

SYSTEMS = {
    "a100_sxm_80gb": "a100_sxm",
    "arc_pro_b60": "b60",
    "b200_sxm": "b200_sxm",
    "b300_sxm": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "h100_sxm": "h100_sxm",
    "h200_sxm": "h200_sxm",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx_pro_6000_server",
}
"""Measured GPUs of hardware_db, and what the source calls them."""


CHIPS = (("h100_sxm", "h200_sxm"), ("b200_sxm", "gb200"), ("b300_sxm", "gb300"))
"""GPUs that are the same chip beside different memory: what they compute is fitted together."""


@dataclass(frozen=True, slots=True)
class Format:
    """A number format of the source, and how a law reads it.

    Attributes:
        key: Name in ``calibration/results``.
        compute: Number format of the peak; where the GPU has none, bf16 (weight-only).
        weight_bytes: Bytes of a stored weight with its scales. [B]
    """

    key: str
    compute: str
    weight_bytes: float


NVFP4_BYTES = (4.0 + 8.0 / 16.0) / BITS_PER_BYTE
"""4 bits and an 8-bit scale a group of 16. [B]"""
MXFP4_BYTES = (4.0 + 8.0 / 32.0) / BITS_PER_BYTE
"""4 bits and an 8-bit scale a group of 32. [B]"""
INT4_BYTES = (4.0 + 16.0 / 128.0) / BITS_PER_BYTE
"""4 bits and a 16-bit scale a group of 128. [B]"""

FORMATS = {
    "bfloat16": Format("bf16", "bf16", 2.0),
    "fp8": Format("fp8", "fp8", 1.0),
    "fp8_block": Format("fp8_block", "fp8", 1.0),
    "sq": Format("int8", "int8", 1.0),
    "nvfp4": Format("nvfp4", "fp4", NVFP4_BYTES),
    "int4_wo": Format("w4a16", "bf16", INT4_BYTES),
    "w4a16_mxfp4": Format("mxfp4", "bf16", MXFP4_BYTES),
    "w4a8_mxfp4_mxfp8": Format("mxfp4_mxfp8", "fp8", MXFP4_BYTES),
}
GEMM_ENGINES = {"fp8_block": ("sglang", "trtllm"), "sq": ("trtllm",)}
UNLIKE_VLLM = {"int4_wo"}
"""Dense weight-only rows exist for one engine and GPU only, with a floor of 19 us a launch."""
ONE_COPY = {"fp8_block", "nvfp4"}
"""Timed on one copy of the weights: below the size of the L2 they are not read from memory."""
L2_SERVED = (4.0 * MIB, 160.0 * MIB)
"""Sizes that a second pass may find in L2 (at most 126 MiB on these GPUs). [B]"""
SMALL_COPIES = {"l40s": ("bfloat16", "fp8"), "rtx_pro_6000_server": ("bfloat16", "fp8")}
"""Timed on several copies of the weights, which together L2 can still hold if one is small."""
L2_COPY = (1.0 * MIB, 24.0 * MIB)
"""Sizes of one such copy. [B]"""
KV_BYTES = {"bfloat16": 2.0, "fp8": 1.0}
KV_KEYS = {"bfloat16": "bf16", "fp8": "fp8"}
COMPUTE_BOUND_ROWS = 512
SHORTEST_PROMPT = 64
IMPLAUSIBLE_MOE = {("h100_sxm", "fp8"), ("h200_sxm", "fp8")}
"""An untuned kernel: a fifth of the bandwidth that fp8_block experts reach on the same GPU."""


def same_chip(gpu: str) -> tuple[str, ...]:
    """Return a GPU and those with the same chip, itself first.

    Examples:
        >>> same_chip("h200_sxm"), same_chip("l40s")
        (('h200_sxm', 'h100_sxm'), ('l40s',))
    """
    family = next((chips for chips in CHIPS if gpu in chips), ())
    return (gpu, *(other for other in family if other != gpu))


def gemm_rows(table: Table, gpu: str, dtype: str) -> Table | None:
    """Return the rows of one GPU's dense GEMMs, or None where none can be trusted."""
    rows = table.equal("system", SYSTEMS[gpu]).equal("dtype", dtype)
    if dtype in UNLIKE_VLLM:
        return None
    for engine in GEMM_ENGINES.get(dtype, ("vllm",)):
        chosen = rows.starting("backend", engine)
        if len(chosen) and (gpu, engine, dtype) != ("l40s", "trtllm", "fp8_block"):
            if dtype in ONE_COPY:
                return from_memory(chosen, dtype, L2_SERVED)
            small = dtype in SMALL_COPIES.get(gpu, ())
            return from_memory(chosen, dtype, L2_COPY) if small else chosen
    return None


def from_memory(rows: Table, dtype: str, sizes: tuple[float, float]) -> Table:
    """Drop rows whose weights L2 may have served, unless compute decides their time."""
    weight = rows.number("n") * rows.number("k") * FORMATS[dtype].weight_bytes
    low, high = sizes
    kept = (weight <= low) | (weight > high) | (rows.number("m") >= COMPUTE_BOUND_ROWS)
    return rows.where(kept)


def decode_rows(table: Table, gpu: str, kv_dtype: str) -> Table | None:
    """Return decode attention whose KV cache L2 cannot have served, or that shows the floor."""
    rows = table.equal("system", SYSTEMS[gpu]).equal("kv_dtype", kv_dtype)
    rows = rows.starting("backend", "vllm")
    if not len(rows):
        return None
    tokens = rows.number("batch_size") * rows.number("ctx")
    head = 2.0 * rows.number("kv_heads") * rows.number("head_dim") * KV_BYTES[kv_dtype]
    low, high = L2_SERVED
    return rows.where((tokens * head < low) | (tokens * head > high))


def prefill_rows(table: Table, gpu: str, kv_dtype: str) -> Table | None:
    """Return prefill attention of prompts of at least 64 tokens."""
    rows = table.equal("system", SYSTEMS[gpu]).equal("kv_dtype", kv_dtype)
    rows = rows.starting("backend", "vllm")
    rows = rows.where(rows.number("isl") >= SHORTEST_PROMPT)
    return rows if len(rows) else None


def moe_rows(table: Table, gpu: str, dtype: str) -> Table | None:
    """Return fused experts, evenly and unevenly routed."""
    rows = table.equal("system", SYSTEMS[gpu]).equal("moe_dtype", dtype)
    rows = rows.starting("backend", "vllm")
    return rows if len(rows) and (gpu, dtype) not in IMPLAUSIBLE_MOE else None


def collective_rows(table: Table, gpu: str, operation: str, ranks: int) -> Table | None:
    """Return one operation among some ranks: vLLM's replayed all-reduce, else the library's."""
    rows = table.equal("system", SYSTEMS[gpu]).equal("op", operation)
    rows = rows.where(rows.number("num_gpus") == ranks)
    kernels = rows.text("kernel")
    for names in (("vLLM_custom_graph",), ("NCCL", "oneCCL")):
        chosen = rows.where(np.isin(kernels, names))
        if len(chosen):
            return chosen
    return None


def fused_rows(table: Table, gpu: str, ranks: int) -> Table | None:
    """Return the faster at each size of TensorRT-LLM's all-reduce and vLLM's own.

    FlashInfer's all-reduce with the norm after it is TensorRT-LLM's kernel, taken up to the size
    at which it stops winning: vLLM 0.33.0 compilation/passes/fusion/allreduce_rms_fusion.py.
    """
    own = collective_rows(table, gpu, "all_reduce", ranks)
    rows = table.equal("system", SYSTEMS[gpu]).equal("op", "all_reduce").equal("kernel", "TRTLLM")
    rows = rows.where(rows.number("num_gpus") == ranks)
    if own is None or not len(rows):
        return None
    times = dict(zip(own.number("bytes").tolist(), own.number("latency_us").tolist(), strict=True))
    sizes, fused = rows.number("bytes").tolist(), rows.number("latency_us").tolist()
    faster = [min(us, times.get(size, us)) for size, us in zip(sizes, fused, strict=True)]
    return Table({**rows.words, "latency_us": np.array([str(us) for us in faster])})


def elementwise_rows(table: Table, gpu: str) -> Table | None:
    """Return elementwise kernels whose bytes L2 cannot have served, or that show the floor."""
    rows = table.equal("system", SYSTEMS[gpu])
    size, (low, high) = rows.number("bytes"), L2_SERVED
    rows = rows.where((size < low) | (size > high))
    return rows if len(rows) else None
