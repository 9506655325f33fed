"""Bandwidth, kernels that only move bytes, and what launching a kernel costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.nn.functional import rms_norm

from fitcalc.calibrate.bench.case import Case, Family, nothing_missing, staged, timed
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cells
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call

HALF_BYTES = 2
NORM_WIDTH = 4096
"""Width of a normalized row. [features]"""


def read(device: Device, size: int) -> Call:
    """Sum a vector: its bytes are read and next to none written."""
    source = device.random(size // HALF_BYTES)
    return source.sum


def copy(device: Device, size: int) -> Call:
    """Copy a vector: half of the bytes are read, half written."""
    source = device.random(size // HALF_BYTES // 2)
    return partial(torch.empty_like(source).copy_, source)


def add(device: Device, size: int) -> Call:
    """Add to the residual: two reads and a write."""
    a, b = (device.random(size // HALF_BYTES // 3) for _ in range(2))
    return partial(torch.add, a, b, out=torch.empty_like(a))


def norm(device: Device, size: int) -> Call:
    """Normalize rows: a read and a write."""
    width = min(NORM_WIDTH, size // HALF_BYTES // 2)
    rows = device.random(size // HALF_BYTES // 2 // width, width)
    return partial(rms_norm, rows, (width,), device.random(width))


def bandwidth(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Read and copy large vectors."""
    for op, call in (("read", read), ("copy", copy)):
        yield from _moved(device, sizes.bandwidth, "bandwidth", op, call)


def elementwise(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Run the kernels between matrix products, of all sizes."""
    for op, call in (("add", add), ("rms_norm", norm)):
        yield from _moved(device, sizes.moved, "elementwise", op, call)


def _moved(
    device: Device,
    moved: tuple[float, ...],
    table: str,
    op: str,
    call: Callable[[Device, int], Call],
) -> Iterator[Case]:
    for stage, size in staged(moved):
        if size <= device.room_bytes:
            cells: Cells = {"op": op, "bytes": int(size)}
            yield Case(table, cells, stage, timed(device, size, partial(call, device, int(size))))


def tiny_kernels(device: Device, count: int) -> Call:
    """Launch kernels that do next to nothing, one after another."""
    one = torch.zeros(1, device=device.place)

    def run() -> None:
        for _ in range(count):
            one.add_(1)

    return run


def launches(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Launch many tiny kernels from the host and, on a GPU, as one graph."""
    for mode in ("eager", "graph") if device.is_cuda else ("eager",):
        for count in sizes.launches:
            run = partial(tiny_kernels, device, count)
            measure = timed(device, device.cache_bytes * 2, run, replay=mode == "graph")
            yield Case("launch", {"mode": mode, "kernels": count}, 0, measure)


BANDWIDTH = Family("bandwidth", bandwidth, nothing_missing)
ELEMENTWISE = Family("elementwise", elementwise, nothing_missing)
LAUNCH = Family("launch", launches, nothing_missing)
