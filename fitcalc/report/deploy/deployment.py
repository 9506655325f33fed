"""One choice of a plan as every target needs it: names, flags, sizes, and what to warn of."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import cast

from fitcalc.catalog.formats import load_weight_format
from fitcalc.catalog.gpu import Gpu, load_gpu
from fitcalc.catalog.tables import Toml, read_toml
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Choice, PlanQuestion
from fitcalc.units import GIB, MILLI

PORT = 8000
STARTUP_S = 1800
"""How long a server may take to load before it counts as broken, at least. [s]"""
_LONGEST_NAME = 50
_HALF_BITS = 16.0
_ROOM = 1.25
"""Room on a disk over the checkpoint: its other files, and a download under way. [1]"""


@dataclass(frozen=True)
class Deployment:
    """A choice, and the question it answers."""

    question: PlanQuestion
    choice: Choice

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words of the line that starts a server: vllm, serve, checkpoint, flags."""
        return tuple(shlex.split(self.choice.vllm_command))

    @property
    def model(self) -> str:
        """The checkpoint."""
        return self.words[2]

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of vLLM."""
        return self.words[3:]

    def flag(self, name: str) -> str | None:
        """Return the value of one of vLLM's flags, ``None`` where it is not given."""
        return self.flags[self.flags.index(name) + 1] if name in self.flags else None

    @property
    def name(self) -> str:
        """Name of the service: the checkpoint's."""
        return dns_name(self.model.rstrip("/").rpartition("/")[2])

    @property
    def placeholder(self) -> bool:
        """Whether the line names a checkpoint that a reader must find, make or mount."""
        return self.model not in (self.question.hf_id, *self.choice.quality.checkpoints)

    @cached_property
    def gpu(self) -> Gpu:
        """The GPU type."""
        return load_gpu(self.choice.gpu)

    @property
    def vendor(self) -> Mapping[str, str] | None:
        """Image and resource name for the GPU's maker; ``None`` where there is no public image."""
        vendors = cast("Mapping[str, Mapping[str, str]]", targets()["vendors"])
        return vendors.get(self.gpu.vendor.value)

    @property
    def image(self) -> str:
        """Public image of the planned vLLM."""
        return (self.vendor or {})["image"].format(version=self.version)

    @property
    def version(self) -> str:
        """Version of vLLM as images and packages are tagged."""
        found = re.search(r"\d+(\.\d+)+", self.choice.engine.version)
        return found[0] if found else self.choice.engine.version

    @property
    def resource(self) -> str:
        """What Kubernetes calls one GPU."""
        return (self.vendor or {})["resource"]

    @property
    def gpus(self) -> int:
        """GPUs of one server. [1]"""
        return self.choice.engine.gpus

    @property
    def share(self) -> Traffic:
        """What reaches one server."""
        return self.question.traffic.share(self.choice.replicas)

    @property
    def most_replicas(self) -> int:
        """Servers to grow to: the limit on GPUs, or the headroom spent once over. [1]"""
        planned, most = self.choice.replicas, self.question.max_gpus
        if most is not None:
            return max(planned, most // self.gpus)
        return max(planned + 1, math.ceil(planned / (1.0 - self.choice.headroom)))

    @property
    def queue(self) -> int:
        """Requests that may wait at a server while first tokens are in time: Little's law. [1]"""
        found, promised = self.choice.prediction, self.question.slo.ttft_ms
        wait_s = max(0.0, promised - found.ttft_ms.mean) * MILLI
        return max(1, math.floor(found.requests_per_s * wait_s))

    @property
    def checkpoint_bytes(self) -> float:
        """The checkpoint's files, about: all ranks' weights as they are stored. [B]"""
        engine = self.choice.engine
        ranks = engine.tensor_parallel_size * engine.pipeline_parallel_size
        bits = load_weight_format(engine.weight_format).bits
        grown = _HALF_BITS / bits if self.flag("--quantization") else 1.0
        return self.choice.memory.weights_bytes * ranks * grown

    @property
    def disk_gib(self) -> int:
        """Disk for the checkpoint. [GiB]"""
        return math.ceil(self.checkpoint_bytes * _ROOM / GIB)

    @property
    def shm_gib(self) -> int:
        """Shared memory by which ranks talk: 2 GiB each, as vLLM's documentation has it. [GiB]"""
        return 2 * self.gpus

    def header(self, *more: str) -> tuple[str, ...]:
        """Return the comments that open every file."""
        return tuple(" ".join(line.split()) for line in (*self._opening(), *more))

    def _opening(self) -> Iterator[str]:
        choice = self.choice
        yield (
            f"{choice.replicas} x vLLM {self.version} on {self.gpus} x {self.gpu.name}, "
            f"{choice.engine.weight_format}: {self.question.model} planned by fitcalc."
        )
        if choice.price_source:
            yield f"Price: {choice.price_source}."
        if self.placeholder:
            of = self.question.hf_id or self.question.model
            yield (
                f"PLACEHOLDER: {self.model} stands for a checkpoint of {of} in "
                f"{choice.engine.weight_format}. Put the name or path of a real one there."
            )
        for note in choice.notes:
            yield f"Note: {note}"


def dns_name(text: str) -> str:
    """Return a text as a name that Kubernetes takes, of services too (RFC 1123, RFC 1035).

    Examples:
        >>> dns_name("Llama-3.1_70B Instruct"), dns_name("7B"), dns_name("...")
        ('llama-3-1-70b-instruct', 'm-7b', 'model')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    named = plain if not plain[:1].isdigit() else f"m-{plain}"
    return named[:_LONGEST_NAME].strip("-") or "model"


@cache
def targets() -> Toml:
    """Return the table of images, resources and accelerators."""
    return read_toml("engines_db", "targets.toml")
