"""One row to measure: what identifies it, and how it is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeVar

from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cells, Sample
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call, Timer

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table that is yet to be measured.

    Attributes:
        table: The table that it belongs to.
        cells: What tells it from other rows.
        stage: 0 = first: a run that is cut short still holds coarse sizes of everything.
        measure: Lays out the operands and times the calls.
    """

    table: str
    cells: Cells
    stage: int
    measure: Callable[[Timer], Sample]


class Family(NamedTuple):
    """Kernels of one kind: their rows, and what this device cannot show of them."""

    name: str
    cases: Callable[[Device, Sizes], Iterator[Case]]
    missing: Callable[[Device], str | None]


def nothing_missing(device: Device) -> None:
    """Every device can run these kernels."""
    del device


def timed(
    device: Device,
    size_bytes: float,
    call: Callable[[], Call],
    *,
    held_bytes: float | None = None,
    replay: bool = True,
) -> Callable[[Timer], Sample]:
    """Time a call on as many copies of its operands as no cache holds.

    Args:
        device: Where.
        size_bytes: Bytes that one call reads and writes. [B]
        call: Lays out operands and returns the call on them.
        held_bytes: Memory of one call's operands, where it does not touch all of them. [B]
        replay: Whether to replay the calls as a graph.
    """

    def measure(timer: Timer) -> Sample:
        copies = device.copies(size_bytes, held_bytes or size_bytes)
        return timer.time([call() for _ in range(copies)], replay=replay)

    return measure


def staged(values: Sequence[T]) -> Iterator[tuple[int, T]]:
    """Yield (stage, value): the ends and the middle first, then what lies between them.

    Examples:
        >>> [stage for stage, _ in staged(range(9))]
        [0, 2, 1, 2, 0, 2, 1, 2, 0]
    """
    last = len(values) - 1
    for index, value in enumerate(values):
        parts, stage = 2, 0
        while index not in {round(part * last / parts) for part in range(parts + 1)}:
            parts, stage = 2 * parts, stage + 1
        yield stage, value


def grid(first: Sequence[A], second: Sequence[B]) -> Iterator[tuple[int, A, B]]:
    """Yield (stage, a, b) of two lists of sizes; the second starts with five of its own.

    Examples:
        >>> [(a, b) for stage, a, b in grid("a", range(9)) if stage == 0]
        [('a', 0), ('a', 2), ('a', 4), ('a', 6), ('a', 8)]
    """
    for (stage, a), (other, b) in product(staged(first), staged(second)):
        yield max(stage, other - 1), a, b
