"""The device that is measured: how torch calls it, and what is known of it."""

from __future__ import annotations

import math
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from fitcalc.calibrate.bench.facts import Fact, Facts
from fitcalc.calibrate.bench.nvml import nvml_facts
from fitcalc.catalog.gpu import resolve_gpu
from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.units import KIB, MIB

_NAME = re.compile(r"(?P<kind>cpu|cuda)(?::(?P<index>\d+))?")
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
USUAL_CACHE = 64.0 * MIB
"""Where the operating system does not say how large a CPU's last cache is. [B]"""
ROTATED = 2.0
"""Operands are rotated through this many times the size of the last cache. [1]"""
MOST_COPIES = 64
DRAWN = 2**20
"""Random numbers that are drawn before they repeat. [1]"""
INT8_SPREAD, INT8_MOST = 40.0, 127.0
"""Standard deviation and largest of 8-bit random numbers. [1]"""
SHARE = 0.5
"""Share of the free memory that operands may take. [1]"""


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        place: Its name for torch.
        system: Its id in hardware_db, or its name in small letters.
        backend: Whose kernels are timed.
        cache_bytes: Its last cache. [B]
        room_bytes: Memory for operands. [B]
        capability: CUDA compute capability; 0.0 for a CPU.
        gpus: GPUs of the machine. [1]
        facts: All that is known of it.
    """

    place: torch.device
    system: str
    backend: str
    cache_bytes: float
    room_bytes: float
    capability: float
    gpus: int
    facts: Facts

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.place.type == "cuda"

    def copies(self, touched_bytes: float, held_bytes: float) -> int:
        """Copies of a call's operands, so that what it touches is in no cache. [1]"""
        wanted = math.ceil(ROTATED * self.cache_bytes / touched_bytes)
        return max(1, min(wanted, MOST_COPIES, int(self.room_bytes / held_bytes)))

    def random(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        """Random numbers, repeated beyond ``DRAWN``: on zeros a GPU draws less power."""
        count = math.prod(shape)
        drawn = torch.randn(min(count, DRAWN), dtype=torch.float32, device=self.place)
        if dtype == torch.int8:
            drawn *= INT8_SPREAD
        block = drawn.clamp(-INT8_MOST, INT8_MOST).to(dtype)
        return block.repeat(math.ceil(count / len(block)))[:count].view(shape)


def open_device(name: str) -> Device:
    """Find a device and gather what is known of it.

    Raises:
        InvalidValue: there is no such device.
    """
    found = _NAME.fullmatch(name.strip())
    if found is None or (found["kind"] == "cpu" and found["index"]):
        raise InvalidValue("device", name, "give cpu, or cuda:0 for the first GPU")
    if found["kind"] == "cpu":
        return _cpu()
    if not torch.cuda.is_available():
        fix = "torch sees no CUDA GPU; give --device cpu, or install the driver and a CUDA torch"
        raise InvalidValue("device", name, fix)
    index, gpus = int(found["index"] or 0), torch.cuda.device_count()
    if index >= gpus:
        raise InvalidValue("device", name, f"torch sees {gpus} GPU(s); give cuda:0 to cuda:N-1")
    return _gpu(index, gpus)


def _versions() -> dict[str, Fact]:
    cuda = torch.version.cuda
    return {"torch": torch.__version__, **({} if cuda is None else {"cuda": cuda})}


def _backend() -> str:
    return f"torch-{torch.__version__.partition('+')[0]}"


def _cpu() -> Device:
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    free = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    cache = last_cache(CACHE)
    facts: dict[str, Fact] = {
        "system": "cpu", "name": cpu_name(Path("/proc/cpuinfo")), "kind": "cpu",
        "cores": torch.get_num_threads(), "memory_bytes": int(memory), "cache_bytes": int(cache),
        **_versions(), "source": "the operating system",
    }  # fmt: skip
    return Device(torch.device("cpu"), "cpu", _backend(), cache, SHARE * free, 0.0, 0, facts)


def cpu_name(path: Path) -> str:
    """Return the CPU's name as Linux has it, else as Python has it."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def last_cache(path: Path) -> float:
    """Return the size of a CPU's last cache. [B]"""
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    return float(text[:-1]) * KIB if text.endswith("K") else USUAL_CACHE


def _gpu(index: int, gpus: int) -> Device:
    torch.cuda.set_device(index)
    seen = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    facts: dict[str, Fact] = {
        "system": system_id(seen.name), "name": seen.name, "kind": "cuda",
        "memory_bytes": total, "cache_bytes": seen.L2_cache_size,
        "multiprocessors": seen.multi_processor_count,
        "compute_capability": f"{seen.major}.{seen.minor}", "gpus": gpus,
        **_versions(), **nvml_facts(str(seen.uuid)),
    }  # fmt: skip
    return Device(
        place=torch.device("cuda", index),
        system=system_id(seen.name),
        backend=_backend(),
        cache_bytes=float(seen.L2_cache_size),
        room_bytes=SHARE * free,
        capability=float(facts["compute_capability"]),
        gpus=gpus,
        facts=facts,
    )


def system_id(name: str) -> str:
    """Return a GPU's id in hardware_db, or its name in small letters where it has none.

    Examples:
        >>> system_id("NVIDIA H200"), system_id("Some New GPU 96GB")
        ('h200_sxm', 'some_new_gpu_96gb')
    """
    try:
        return resolve_gpu(name)
    except UnknownName:
        return "_".join(re.findall(r"[a-z0-9]+", name.lower()))
