"""The accuracy page's section on memory, and the errors it tells of."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from fitcalc.calibrate.memory_page import HEADING, errors_of, section, with_section
from fitcalc.calibrate.starts import read_starts

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[2] / "shared"))
LOGS = SHARED / "memory" / "startup.csv"


def test_the_section_replaces_itself_and_nothing_else() -> None:
    page = with_section("# Accuracy\n\nLatency.\n", f"{HEADING}\n\nold\n")
    again = with_section(page, f"{HEADING}\n\nnew\n")
    assert again == f"# Accuracy\n\nLatency.\n\n{HEADING}\n\nnew\n"


@pytest.mark.skipif(not LOGS.exists(), reason=f"needs the start-up logs at {LOGS}")
def test_kv_memory_is_near_the_logs_that_name_their_version() -> None:
    starts = read_starts(LOGS)
    errors = sorted(abs(error) for _, error in errors_of(starts))
    assert len(errors) >= 30
    assert statistics.median(errors) <= 0.01
    assert errors[int(0.9 * len(errors))] <= 0.03
    assert "| **all** |" in section(starts)
