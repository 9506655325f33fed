"""A real device: this CPU's kernels, timed one by one, predict a small transformer's decode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fitcalc.calibrate.device_fit import fit_device
from fitcalc.calibrate.device_report import report
from fitcalc.planning.calibrated import StepCheck
from fitcalc.units import KIB, MIB

if find_spec("torch") is None:
    pytest.skip("torch is not installed: pip install 'fitcalc[gpu]'", allow_module_level=True)

import torch

from fitcalc.calibrate.bench import timing
from fitcalc.calibrate.bench.device import open_device
from fitcalc.calibrate.bench.sizes import CPU, Sizes, Stack
from fitcalc.calibrate.bench.suite import measure

QUARTER = Stack(2, 1024, 768, 37984, 4, 2)
"""Two layers and the head of one of four ranks of Qwen3-0.6B: products that are timed alone too."""
TINY: Sizes = replace(
    CPU,
    models=(("qwen3-0.6b", 4),),
    formats=("bfloat16",),
    rows=(1, 4, 8),
    batches=(1, 4, 8),
    contexts=(128, 256, 512),
    prompts=(64,),
    moved=(4 * KIB, 16 * KIB, 64 * KIB),
    bandwidth=(64 * MIB,),
    stack=QUARTER,
    stack_batches=(1, 4, 8),
    stack_contexts=(128, 512),
)
FEW = timing.Effort(sample_s=1e-3, total_s=0.03, least=5, most=15)
TRIES = 3
"""Others may load this machine while its kernels or its steps are timed, and not both."""
FAMILIES = ("bandwidth", "gemm", "attention_decode", "elementwise", "stack")
CACHE = 8 * MIB
"""Operands rotate through twice this: more would be nearer to a server, and slower to lay out."""


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Count this process's own time on one thread: whatever else runs here is not the device's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(timing, "perf_counter", time.process_time)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_decode_steps_lie_within_the_interval_of_their_kernels(tmp_path: Path) -> None:
    told = []
    for attempt in range(TRIES):
        steps = decode_steps(tmp_path / str(attempt))
        assert len(steps) == 6
        off = [step.predicted_ms / step.measured_ms - 1.0 for step in steps]
        inside = sum(step.inside for step in steps)
        told.append(f"{inside} of 6 inside, off by " + ", ".join(f"{o:+.0%}" for o in off))
        if inside >= 4 and np.median(np.abs(off)) < 0.3:
            return
    pytest.fail("; ".join(told))


def decode_steps(folder: Path) -> list[StepCheck]:
    device = replace(open_device("cpu"), cache_bytes=CACHE)
    timer = timing.CpuTimer(FEW)
    measure(device, folder, budget_s=120.0, only=FAMILIES, sizes=TINY, timer=timer)
    shown = report(fit_device(folder), folder)
    return [step for step in shown.steps if step.phase == "decode"]
