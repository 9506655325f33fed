"""What NVIDIA's management library says of a GPU (nvidia-ml-py; the module is pynvml)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from fitcalc.calibrate.bench.facts import Fact
from fitcalc.units import KILO


class Number(Protocol):
    """A field's value, of whatever type."""

    uiVal: int  # noqa: N815


class Field(Protocol):
    """A field of a GPU; ``nvmlReturn`` 0 = it has one."""

    nvmlReturn: int  # noqa: N815
    value: Number


class Nvml(Protocol):
    """What of ``pynvml`` is used."""

    NVMLError: type[Exception]
    NVML_CLOCK_SM: int
    NVML_CLOCK_MEM: int
    NVML_NVLINK_MAX_LINKS: int
    NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON: int

    def nvmlInit(self) -> None: ...  # noqa: D102, N802
    def nvmlShutdown(self) -> None: ...  # noqa: D102, N802
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object: ...  # noqa: D102, N802
    def nvmlSystemGetDriverVersion(self) -> str: ...  # noqa: D102, N802
    def nvmlDeviceGetMaxClockInfo(self, gpu: object, kind: int) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetClockInfo(self, gpu: object, kind: int) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetPowerManagementDefaultLimit(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetEccMode(self, gpu: object) -> list[int]: ...  # noqa: D102, N802
    def nvmlDeviceGetMigMode(self, gpu: object) -> list[int]: ...  # noqa: D102, N802
    def nvmlDeviceGetMaxPcieLinkGeneration(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetMaxPcieLinkWidth(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetCurrPcieLinkGeneration(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetCurrPcieLinkWidth(self, gpu: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetNvLinkState(self, gpu: object, link: int) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetNvLinkVersion(self, gpu: object, link: int) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetFieldValues(self, gpu: object, fields: list[int]) -> Sequence[Field]: ...  # noqa: D102, N802


def nvml_facts(uuid: str) -> dict[str, Fact]:
    """Return clocks, power, ECC, MIG, PCIe, NVLink and driver; what a GPU lacks is left out."""
    if find_spec("pynvml") is None:
        return {"source": "torch: nvidia-ml-py is not installed"}
    return ask(cast("Nvml", import_module("pynvml")), uuid)


def ask(nvml: Nvml, uuid: str) -> dict[str, Fact]:
    """Ask the library; it may refuse any single question."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"source": f"torch: NVML does not start ({error})"}
    try:
        gpu = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        found = {name: _answer(nvml, question) for name, question in _questions(nvml, gpu).items()}
    except nvml.NVMLError as error:
        return {"source": f"torch: NVML does not find the GPU ({error})"}
    finally:
        nvml.nvmlShutdown()
    return {"source": "NVML"} | {name: fact for name, fact in found.items() if fact is not None}


def _answer(nvml: Nvml, question: Callable[[], Fact]) -> Fact | None:
    try:
        return question()
    except nvml.NVMLError:
        return None


def _questions(nvml: Nvml, gpu: object) -> dict[str, Callable[[], Fact]]:
    sm, mem = nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM
    return {
        "driver": nvml.nvmlSystemGetDriverVersion,
        "sm_clock_max_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, sm),
        "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, sm),
        "memory_clock_max_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, mem),
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / KILO,
        "power_default_w": lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) / KILO,
        "ecc": lambda: bool(nvml.nvmlDeviceGetEccMode(gpu)[0]),
        "mig": lambda: bool(nvml.nvmlDeviceGetMigMode(gpu)[0]),
        "pcie_generation_max": lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(gpu),
        "pcie_width_max": lambda: nvml.nvmlDeviceGetMaxPcieLinkWidth(gpu),
        "pcie_generation": lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu),
        "pcie_width": lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(gpu),
        "nvlinks": lambda: _nvlinks(nvml, gpu),
        "nvlink_version": lambda: nvml.nvmlDeviceGetNvLinkVersion(gpu, 0),
        "nvlink_mbit_per_s": lambda: _nvlink_speed(nvml, gpu),
    }


def _nvlink_speed(nvml: Nvml, gpu: object) -> int:
    """Return the speed of one link; 0 = none. [Mbit/s]"""
    found = nvml.nvmlDeviceGetFieldValues(gpu, [nvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON])[0]
    return found.value.uiVal if found.nvmlReturn == 0 else 0


def _nvlinks(nvml: Nvml, gpu: object) -> int:
    """Return the links that are up."""
    states = (
        _answer(nvml, lambda link=link: nvml.nvmlDeviceGetNvLinkState(gpu, link))  # type: ignore[misc]
        for link in range(nvml.NVML_NVLINK_MAX_LINKS)
    )
    return sum(state == 1 for state in states)
