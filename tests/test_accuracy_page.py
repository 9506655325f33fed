"""The accuracy page's sections, and the errors that the one on memory tells of."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from fitcalc.calibrate.accuracy_page import BY_HAND, MEMORY, renewed
from fitcalc.calibrate.memory_page import errors_of, section
from fitcalc.calibrate.starts import read_starts

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[2] / "shared"))
LOGS = SHARED / "memory" / "startup.csv"
HAND = f"{BY_HAND}\n\n- A person's words."


@pytest.mark.parametrize("latency", [None, "# Accuracy\n\nNew."])
@pytest.mark.parametrize("memory", [None, f"{MEMORY}\n\nNew."])
def test_a_section_replaces_itself_and_nothing_else(
    latency: str | None, memory: str | None
) -> None:
    first, last = "# Accuracy\n\nOld.", f"{MEMORY}\n\nOld."
    page = renewed(f"{first}\n\n{HAND}\n\n{last}\n", latency, memory)
    assert page == f"{latency or first}\n\n{HAND}\n\n{memory or last}\n"


@pytest.mark.skipif(not LOGS.exists(), reason=f"needs the start-up logs at {LOGS}")
def test_kv_memory_is_near_the_logs_that_name_their_version() -> None:
    found = errors_of(read_starts(LOGS))
    errors = sorted(abs(error) for _, error in found)
    assert len(errors) >= 30
    assert statistics.median(errors) <= 0.01
    assert errors[int(0.9 * len(errors))] <= 0.03
    assert f"| all | {len(errors)} |" in section(found)
