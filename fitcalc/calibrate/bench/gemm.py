"""Dense matrix products of served models' layers, by number format."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn.functional import linear

from fitcalc.calibrate.bench.case import Case, Family, grid, timed
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cells
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call
from fitcalc.catalog.model import load_model
from fitcalc.physics.splits import gemms

WEIGHT_BYTES = {"bfloat16": 2.0, "fp8": 1.0, "sq": 1.0}
"""Bytes of a weight, by the formats' names in the tables; sq = int8 weights and activations. [B]"""
LEAST_CAPABILITY = {"bfloat16": 8.0, "fp8": 8.9, "sq": 7.5}
"""First CUDA compute capability whose tensor cores take the format (CUDA C++ Programming Guide)."""
INT_ROWS = 16
"""On a GPU ``torch._int_mm`` takes more rows than this (aten/src/ATen/native/cuda/Blas.cpp)."""


def call(device: Device, dtype: str, m: int, n: int, k: int) -> Call:
    """Multiply (m, k) activations with an (n, k) weight."""
    if dtype == "bfloat16":
        return partial(linear, device.random(m, k), device.random(n, k))
    kind = torch.int8 if dtype == "sq" else torch.float8_e4m3fn
    x, weight = device.random(m, k, dtype=kind), device.random(n, k, dtype=kind).t()
    if dtype == "sq":
        return partial(torch._int_mm, x, weight)  # noqa: SLF001 - there is no public name
    scale = torch.ones((), device=device.place)
    half = torch.bfloat16
    scaled = torch._scaled_mm  # noqa: SLF001 - the public name is newer than the torch we allow
    return partial(scaled, x, weight, scale_a=scale, scale_b=scale, out_dtype=half)


def shapes(models: tuple[tuple[str, int], ...]) -> list[tuple[int, int]]:
    """Return (n, k) of every matrix of these models, heads included, the largest first."""
    found = set()
    for name, tp in models:
        products = gemms(load_model(name), tp=tp)
        found |= {(int(g.n), int(g.k)) for g in (*products.layers[0], products.lm_head)}
    return sorted(found, key=lambda shape: (-shape[0] * shape[1], shape))


def cases(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield every format, matrix and number of rows."""
    room = min(sizes.largest, device.room_bytes)
    for dtype in (dtype for dtype in sizes.formats if _runs(device, dtype)):
        each = WEIGHT_BYTES[dtype]
        matrices = [(n, k) for n, k in shapes(sizes.models) if each * n * k <= room]
        fewest = INT_ROWS + 1 if dtype == "sq" and device.is_cuda else 1
        for stage, (n, k), m in grid(matrices, [m for m in sizes.rows if m >= fewest]):
            size = each * k * (n + m) + 2.0 * m * n
            if size <= room:
                cells: Cells = {"dtype": dtype, "m": m, "n": n, "k": k}
                build = partial(call, device, dtype, m, n, k)
                yield Case("gemm", cells, stage, timed(device, size, build))


def missing(device: Device) -> str | None:
    """Formats that the GPU's tensor cores do not take."""
    lacking = [dtype for dtype in WEIGHT_BYTES if not _runs(device, dtype)]
    return f"{', '.join(lacking)}: not native to this GPU" if lacking else None


def _runs(device: Device, dtype: str) -> bool:
    return not device.is_cuda or device.capability >= LEAST_CAPABILITY[dtype]


GEMM = Family("gemm", cases, missing)
