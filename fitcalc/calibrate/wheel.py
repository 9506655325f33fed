"""Derive the tables of measurements from the public wheel aiconfigurator-core (Apache-2.0).

``python -m fitcalc.calibrate.wheel aiconfigurator_core-*.whl DIR`` writes gemm.csv,
attn_decode.csv, attn_prefill.csv, moe.csv, allreduce.csv and elementwise.csv. It needs pyarrow,
which fitcalc does not depend on.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath

from fitcalc.calibrate import tables
from fitcalc.physics.kernels import LARGE_TILE, SMALL_TILE
from fitcalc.units import KILO

DATA = "aiconfigurator_core/systems/data/"
SMALLEST = 1024
"""Narrower GEMMs than this are not served models' layers. [features]"""
BYTES_PER_ELEMENT = 2
"""The collector counts 16-bit elements."""
HEAD_DIM = 128
SHORTEST_CONTEXT = 128
ROUTINGS = {"balanced", "power_law_1.2"}
RANKS = 8
"""Ranks of one node; wider sharding was timed too and is left out."""
HALF = {"half", "bfloat16"}

Row = Mapping[str, object]
Cells = dict[str, object]
Keep = Callable[[Row], Cells | None]


def gemm(row: Row) -> Cells | None:
    """Keep layers of real width, in any format; of m powers of two, and one row beyond a tile."""
    m, n, k = (int(str(row[c])) for c in "mnk")
    full = m - 1 if SMALL_TILE < m <= LARGE_TILE else m
    if (m & (m - 1) and full & (full - 1)) or n < SMALLEST or k < SMALLEST:
        return None
    return {"dtype": row["gemm_dtype"], "m": m, "n": n, "k": k, "latency_ms": row["latency"]}


def attention(row: Row) -> Cells | None:
    """Keep grouped heads of width 128 without a window; a decode's context has the new token."""
    isl, step, heads = (int(str(row[c])) for c in ("isl", "step", "num_heads"))
    kv_heads = int(str(row["num_key_value_heads"])) or heads
    prefill = row["op_name"] == "context_attention"
    short = not prefill and isl + step < SHORTEST_CONTEXT
    other = row.get("window_size") or heads == kv_heads or (prefill and step) or short
    if row["head_dim"] != HEAD_DIM or other:
        return None
    return {
        "batch_size": row["batch_size"], "isl": isl, "ctx": isl + step, "num_heads": heads,
        "kv_heads": kv_heads, "head_dim": HEAD_DIM, "kv_dtype": row["kv_cache_dtype"],
        "latency_us": micro(row),
    }  # fmt: skip


def moe(row: Row) -> Cells | None:
    """Keep powers of four of tokens, routed evenly or by a power law, on at most 8 ranks."""
    tokens, tp, ep = (int(str(row[c])) for c in ("num_tokens", "moe_tp_size", "moe_ep_size"))
    if tokens & (tokens - 1) or tokens.bit_length() % 2 == 0 or tp * ep > RANKS:
        return None
    if row["distribution"] not in ROUTINGS:
        return None
    return {**{c: row[c] for c in tables.MOE if c in row}, "latency_us": micro(row)}


def collective(row: Row) -> Cells | None:
    """Keep every size of 16-bit elements; sizes become bytes."""
    if row.get("nccl_dtype", row.get("oneccl_dtype", "half")) not in HALF:
        return None
    return {
        "op": row["op_name"], "kernel": row["kernel_source"], "num_gpus": row["num_gpus"],
        "bytes": int(str(row["message_size"])) * BYTES_PER_ELEMENT, "latency_us": micro(row),
    }  # fmt: skip


def elementwise(row: Row) -> Cells | None:
    """Keep the quantization of a matrix to fp8: 16 bits read and 8 written an element."""
    elements = int(str(row["m"])) * int(str(row["k"]))
    return {"bytes": elements * (BYTES_PER_ELEMENT + 1), "latency_us": micro(row)}


def micro(row: Row) -> float:
    """Return the row's latency. [us]"""
    return float(str(row["latency"])) * KILO


OPERATIONS: Mapping[str, tuple[str, tuple[str, ...], Keep]] = {
    "gemm_perf": ("gemm", tables.GEMM, gemm),
    "generation_attention_perf": ("attn_decode", tables.ATTENTION_DECODE, attention),
    "context_attention_perf": ("attn_prefill", tables.ATTENTION_PREFILL, attention),
    "moe_perf": ("moe", tables.MOE, moe),
    "custom_allreduce_perf": ("allreduce", tables.COLLECTIVES, collective),
    "nccl_perf": ("allreduce", tables.COLLECTIVES, collective),
    "oneccl_perf": ("allreduce", tables.COLLECTIVES, collective),
    "scale_matrix_perf": ("elementwise", tables.ELEMENTWISE, elementwise),
}
"""Measurement of the wheel: the table it goes to, its columns, and what is kept."""

OF_OTHER_ENGINES = {("gemm", "fp8_block"), ("gemm", "sq"), ("allreduce", "TRTLLM")}
"""Formats and kernels that vLLM's own rows do not show; all else is vLLM's or a library's."""


def measured(wheel: zipfile.ZipFile) -> Iterator[tuple[str, Cells]]:
    """Yield (table, row) of every measurement kept, newest version of each engine only."""
    parquet = import_module("pyarrow.parquet")

    newest: dict[tuple[str, ...], tuple[tuple[int, ...], str]] = {}
    for name in wheel.namelist():
        path = PurePosixPath(name)
        if name.startswith(DATA) and path.stem in OPERATIONS:
            system, _, engine, version = path.relative_to(DATA).parts[:4]
            numbers = tuple(int(part) for part in re.findall(r"\d+", version))
            key = (system, path.stem, engine)
            newest[key] = max(newest.get(key, ((), "")), (numbers, name))
    for (system, stem, engine), (_, name) in sorted(newest.items()):
        table, _, keep = OPERATIONS[stem]
        backend = f"{engine}-{PurePosixPath(name).parts[-2]}"
        ours = engine not in {"sglang", "trtllm"}
        for row in parquet.read_table(io.BytesIO(wheel.read(name))).to_pylist():
            cells = keep(row)
            if cells is None:
                continue
            shown = (table, cells.get("dtype", cells.get("kernel")))
            if ours or shown in OF_OTHER_ENGINES:
                yield table, {"system": system, "backend": backend, **cells}


def main() -> None:
    """Write the tables."""
    if len(sys.argv) != 3:
        sys.exit("give the wheel and a folder: calibrate.wheel WHEEL DIR")
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    headers = {table: columns for table, columns, _ in OPERATIONS.values()}
    files = {t: (folder / f"{t}.csv").open("w", newline="", encoding="utf-8") for t in headers}
    writers = {
        table: csv.DictWriter(files[table], columns, extrasaction="ignore")
        for table, columns in headers.items()
    }
    for writer in writers.values():
        writer.writeheader()
    with zipfile.ZipFile(source) as wheel:
        for table, cells in measured(wheel):
            writers[table].writerow(cells)
    for file in files.values():
        file.close()


if __name__ == "__main__":
    main()
