"""Facts of a GPU by NVML, played by a stand-in: no machine of the tests has one."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import cast

import pytest

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: `make check` installs it")

import pynvml

from fitcalc.calibrate.bench import nvml


class NvmlError(Exception):
    """What the library raises."""


def library(**answers: object) -> nvml.Nvml:
    """Return a library that gives these answers and refuses every other question."""

    def refuse(*_: object) -> object:
        raise NvmlError("Not Supported")

    asked = {name: refuse for name in dir(nvml.Nvml) if name.startswith("nvml")}
    given = {name: lambda *_, value=value: value for name, value in answers.items()}
    fixed = {name: lambda *_: None for name in ("nvmlInit", "nvmlShutdown")}
    handle = {"nvmlDeviceGetHandleByUUID": lambda _: object()}
    names = {
        "NVMLError": NvmlError, "NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2,
        "NVML_NVLINK_MAX_LINKS": 18, "NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON": 90,
    }  # fmt: skip
    return cast("nvml.Nvml", SimpleNamespace(**{**asked, **names, **fixed, **handle, **given}))


def test_what_a_gpu_says_is_kept_in_its_units() -> None:
    field = SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=26562))
    found = nvml.ask(
        library(
            nvmlSystemGetDriverVersion="580.65",
            nvmlDeviceGetEnforcedPowerLimit=700_000,
            nvmlDeviceGetEccMode=[1, 1],
            nvmlDeviceGetMigMode=[0, 0],
            nvmlDeviceGetNvLinkState=1,
            nvmlDeviceGetFieldValues=[field],
        ),
        "GPU-1",
    )
    assert found == {
        "source": "NVML", "driver": "580.65", "power_limit_w": 700.0, "ecc": True, "mig": False,
        "nvlinks": 18, "nvlink_mbit_per_s": 26562,
    }  # fmt: skip


def test_a_question_that_is_refused_is_left_out() -> None:
    assert nvml.ask(library(), "1") == {"source": "NVML", "nvlinks": 0}


def refuse(*_: object) -> object:
    """Refuse as a library without a driver does."""
    raise NvmlError("Driver Not Loaded")


def test_no_driver_is_said() -> None:
    broken = library()
    broken.nvmlInit = refuse  # type: ignore[assignment,method-assign]
    assert nvml.ask(broken, "1") == {"source": "torch: NVML does not start (Driver Not Loaded)"}


def test_the_real_library_has_every_name() -> None:
    names = re.findall(r"\b(nvml[A-Z]\w+|NVML_\w+)", inspect.getsource(nvml))
    assert len(set(names) - {"nvmlReturn"}) > 15
    assert [name for name in set(names) - {"nvmlReturn"} if not hasattr(pynvml, name)] == []
