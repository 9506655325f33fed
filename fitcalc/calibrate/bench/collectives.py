"""Collectives among this machine's GPUs (NCCL), or between two processes on a CPU (gloo)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import torch
from torch import distributed, multiprocessing

from fitcalc.calibrate.bench.case import Case, Family, staged
from fitcalc.calibrate.bench.device import Device
from fitcalc.calibrate.bench.rows import Cells, Sample
from fitcalc.calibrate.bench.sizes import Sizes
from fitcalc.calibrate.bench.timing import Call, CpuTimer, CudaTimer, Effort, Timer

HALF_BYTES = 2
RANKS = (2, 4, 8)
LOCKSTEP = Effort(sample_s=0.0, total_s=0.0, least=15, most=15)
"""Every rank takes as many samples as the others, whatever its own clock says."""
CALLS = 10
"""Collectives of one sample. [1]"""
PATIENCE_S = 120.0
"""Ranks that say nothing for this long are given up. [s]"""

Answer = Sample | str
Question = tuple[str, int]


def all_reduce(buffer: torch.Tensor, ranks: int) -> Call:
    """Sum the buffer over the ranks."""
    del ranks
    return partial(distributed.all_reduce, buffer)


def all_gather(buffer: torch.Tensor, ranks: int) -> Call:
    """Gather the buffer from a share of each rank."""
    own = torch.ones_like(buffer[: len(buffer) // ranks])
    newer = "all_gather_single"  # torch 2.13 calls all_gather_into_tensor so
    gather = getattr(distributed, newer, None) or distributed.all_gather_into_tensor
    return partial(gather, buffer, own)


def all_to_all(buffer: torch.Tensor, ranks: int) -> Call:
    """Exchange the shares of the buffer."""
    del ranks
    return partial(distributed.all_to_all_single, torch.empty_like(buffer), buffer)


OPERATIONS: Mapping[str, Callable[[torch.Tensor, int], Call]] = {
    "all_reduce": all_reduce,
    "all_gather": all_gather,
    "alltoall": all_to_all,
}
"""As the tables call them; bytes are those of one rank's whole buffer."""


def serve(rank: int, ranks: int, meeting: str, questions: Connection, *, cuda: bool) -> None:
    """Be one rank: time what is asked for until nobody asks any more."""
    device = torch.device("cuda", rank) if cuda else torch.device("cpu")
    timer: Timer = CudaTimer(LOCKSTEP) if cuda else CpuTimer(LOCKSTEP)
    if cuda:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=PATIENCE_S),
    )
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            operation, size = questions.recv()
            questions.send(answer(timer, device, ranks, (operation, size)))
    distributed.destroy_process_group()


def answer(timer: Timer, device: torch.device, ranks: int, question: Question) -> Answer:
    """Time one collective; in words why, where it cannot be."""
    operation, size = question
    buffer = torch.ones(size // HALF_BYTES, dtype=torch.bfloat16, device=device)
    try:
        return timer.time([OPERATIONS[operation](buffer, ranks)] * CALLS)
    except RuntimeError as error:
        return str(error)


@dataclass(slots=True, weakref_slot=True)
class Ranks:
    """Processes that wait for questions; they end when this object does."""

    count: int
    cuda: bool
    _lines: list[Connection] = field(default_factory=list)

    def time(self, operation: str, size: int, timer: Timer | None = None) -> Sample:
        """Time one collective on all ranks; the first rank's clock counts.

        Raises:
            RuntimeError: a rank failed, or none answers.
        """
        del timer  # every rank has its own
        lines = self._lines or self._start()
        try:
            for line in lines:
                line.send((operation, size))
            answers = [self._hear(line) for line in lines]
        except (EOFError, OSError):
            self._lines = []
            raise RuntimeError("a rank ended") from None
        failed = next((said for said in answers if isinstance(said, str)), None)
        if failed is not None:
            raise RuntimeError(failed)
        first = answers[0]
        assert isinstance(first, Sample)  # noqa: S101 - what is not words is a sample
        return first

    @staticmethod
    def _hear(line: Connection) -> Answer:
        if not line.poll(PATIENCE_S):
            raise EOFError
        heard: Answer = line.recv()
        return heard

    def _start(self) -> Sequence[Connection]:
        context = multiprocessing.get_context("spawn")
        folder = mkdtemp(prefix="fitcalc-ranks-")
        weakref.finalize(self, rmtree, folder, ignore_errors=True)
        meeting = str(Path(folder) / "store")
        for rank in range(self.count):
            ours, theirs = context.Pipe()
            arguments = (rank, self.count, meeting, theirs)
            kind = {"cuda": self.cuda}
            context.Process(target=serve, args=arguments, kwargs=kind, daemon=True).start()
            theirs.close()
            self._lines.append(ours)
        return self._lines


def cases(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Yield every operation, number of ranks and size."""
    kernel = "NCCL" if device.is_cuda else "gloo"
    for count in (ranks for ranks in RANKS if ranks <= available(device)):
        ranks = Ranks(count, device.is_cuda)
        for operation in OPERATIONS:
            for stage, size in staged(sizes.messages):
                cells: Cells = {
                    "op": operation, "kernel": kernel, "num_gpus": count, "bytes": int(size),
                }  # fmt: skip
                measure = partial(ranks.time, operation, int(size))
                yield Case("allreduce", cells, stage, measure)


def available(device: Device) -> int:
    """Ranks this machine can hold: GPUs, or two processes on a CPU. [1]"""
    return device.gpus if device.is_cuda else 2


def missing(device: Device) -> str | None:
    """Whether there is more than one rank."""
    return None if available(device) >= 2 else "this machine has one GPU"


COLLECTIVES = Family("collectives", cases, missing)
