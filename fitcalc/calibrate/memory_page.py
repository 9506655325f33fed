"""How far memory lies from vLLM's start-up logs: the section "Memory" of docs/accuracy.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from fitcalc.answers import MemoryLedger
from fitcalc.calibrate.accuracy_page import MEMORY, markdown
from fitcalc.calibrate.accuracy_tables import Sheet
from fitcalc.calibrate.starts import Start
from fitcalc.inputs.engine import release
from fitcalc.physics.memory import memory_ledger
from fitcalc.units import GIB

LEAD = f"""{MEMORY}

Memory available to the KV cache of a
rank, against start-up logs of vLLM whose model, GPU and version are known; the overheads'
coefficients are fitted to these logs (`calibration/results/memory.toml`). The layout of that memory
in blocks equals vLLM 0.33's own planner on every case: [conformance.md](conformance.md).

"""


def errors_of(starts: Sequence[Start]) -> list[tuple[Start, float]]:
    """Return predicted over logged KV memory, less 1, of the starts where both are known. [1]"""
    return [(start, e) for start in starts if not math.isnan(e := _error(start))]


def memory_sheet(errors: Sequence[tuple[Start, float]]) -> Sheet:
    """Return the errors by version as a table."""
    by_version: dict[tuple[int, int], list[float]] = {}
    for start, error in errors:
        by_version.setdefault(release(start.engine.version), []).append(abs(error))
    rows = [(f"{major}.{minor}", off) for (major, minor), off in sorted(by_version.items())]
    rows.append(("all", [abs(error) for _, error in errors]))
    words = [
        (name, str(len(off)), f"{statistics.median(off):.1%}", f"{max(off):.1%}")
        for name, off in rows
    ]
    head = ("vLLM", "Logs", "median error", "largest error")
    return Sheet("KV cache memory against start-up logs", head, words)


def section(errors: Sequence[tuple[Start, float]]) -> str:
    """Return the section: errors by version, and the five worst logs."""
    worst = sorted(errors, key=lambda one: -abs(one[1]))[:5]
    listed = [f"- {start.name}: {error:+.1%}" for start, error in worst]
    table = markdown(memory_sheet(errors))
    return LEAD + "\n".join([table, "", "The five that are furthest off:", "", *listed, ""])


def _error(start: Start) -> float:
    """Predicted over logged KV memory, less 1; NaN where either is not known. [1]"""
    if math.isnan(start.consumed):
        return math.nan
    visible = start.gpu.cuda_memory_bytes or start.gpu.memory_bytes
    logged = start.engine.gpu_memory_utilization * visible - start.consumed
    said = memory_ledger(start.model, start.gpu, start.engine)
    if not isinstance(said, MemoryLedger) or logged < GIB:
        return math.nan
    return said.kv_cache_bytes / logged - 1.0
