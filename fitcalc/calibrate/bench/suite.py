"""The suite: which rows are measured, in which order, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fitcalc.calibrate.bench.attention import DECODE, PREFILL
from fitcalc.calibrate.bench.case import Case, Family
from fitcalc.calibrate.bench.collectives import COLLECTIVES
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.experts import EXPERTS
from fitcalc.calibrate.bench.facts import claim
from fitcalc.calibrate.bench.gemm import GEMM
from fitcalc.calibrate.bench.memory import BANDWIDTH, ELEMENTWISE, LAUNCH
from fitcalc.calibrate.bench.rows import Rows
from fitcalc.calibrate.bench.sizes import CPU, GPU, Sizes
from fitcalc.calibrate.bench.stack import STACK
from fitcalc.calibrate.bench.timing import CpuTimer, CudaTimer, Timer
from fitcalc.errors import InvalidValue

FAMILIES: Sequence[Family] = (
    BANDWIDTH, LAUNCH, GEMM, DECODE, PREFILL, ELEMENTWISE, STACK, EXPERTS, COLLECTIVES,
)  # fmt: skip
"""In the order in which each stage measures them."""

Progress = Callable[[str, int, int], None]
"""Hears the table being measured, the rows that stand, and all rows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind.

    Attributes:
        measured: Rows that were added. [1]
        standing: Rows that stood before. [1]
        left: Rows that there was no time for. [1]
        notes: What could not be measured, and why.
    """

    measured: int
    standing: int
    left: int
    notes: tuple[str, ...]


def chosen(only: Sequence[str]) -> tuple[Family, ...]:
    """Return the families whose name starts with a word; all if no word is given.

    Raises:
        InvalidValue: a word names none.

    Examples:
        >>> [family.name for family in chosen(["attention", "gemm"])]
        ['gemm', 'attention_decode', 'attention_prefill']
    """
    names = [family.name for family in FAMILIES]
    for word in only:
        if not any(name.startswith(word) for name in names):
            raise InvalidValue("only", word, f"use one of {', '.join(names)}")
    wanted = tuple(only) or ("",)
    return tuple(family for family in FAMILIES if family.name.startswith(wanted))


def measure(
    device: Device,
    folder: Path,
    *,
    budget_s: float,
    only: Sequence[str] = (),
    sizes: Sizes | None = None,
    timer: Timer | None = None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Measure what a folder lacks, coarse sizes of every kernel first, until the time is up.

    Raises:
        InvalidValue: the folder holds another device's rows, or ``only`` names no family.
    """
    families = chosen(only)
    claim(folder, device.facts)
    end = time.monotonic() + budget_s
    rows = Rows(folder)
    named = {"system": device.system, "backend": device.backend}
    todo = ordered(families, device, sizes or (GPU if device.is_cuda else CPU))
    lacking = [case for case in todo if not rows.stands(case.table, {**named, **case.cells})]
    standing = len(todo) - len(lacking)
    notes = [f"{f.name}: {why}" for f in families if (why := f.missing(device)) is not None]
    clock = timer or (CudaTimer() if device.is_cuda else CpuTimer())
    measured = tried = 0
    for case in lacking:
        if time.monotonic() > end:
            break
        progress(case.table, standing + tried, len(todo))
        tried += 1
        try:
            sample = case.measure(clock)
        except RuntimeError as error:
            notes.append(f"{case.table}: {_first_line(error)}")
            continue
        rows.append(case.table, {**named, **case.cells}, sample)
        measured += 1
    progress("", standing + tried, len(todo))
    left = len(lacking) - tried
    return Outcome(measured, standing, left, tuple(dict.fromkeys(notes)))


def ordered(families: Sequence[Family], device: Device, sizes: Sizes) -> list[Case]:
    """Return all rows, coarse sizes of every family before finer ones."""
    found = [case for family in families for case in family.cases(device, sizes)]
    return sorted(found, key=lambda case: case.stage)


def _first_line(error: RuntimeError) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
