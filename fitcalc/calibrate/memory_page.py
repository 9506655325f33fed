"""How far memory lies from vLLM's start-up logs: the section "Memory" of docs/accuracy.md.

``python -m fitcalc.calibrate.memory_page DIR``, where DIR holds startup.csv.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from fitcalc.answers import MemoryLedger
from fitcalc.calibrate.starts import Start, read_starts
from fitcalc.errors import FitcalcError, TableError
from fitcalc.inputs.engine import release
from fitcalc.physics.memory import memory_ledger
from fitcalc.units import GIB

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
HEADING = "## Memory"
LEAD = f"""{HEADING}

Written by `python -m fitcalc.calibrate.memory_page DIR`. Memory available to the KV cache of a
rank, against start-up logs of vLLM whose model, GPU and version are known; the overheads'
coefficients are fitted to these logs (`calibration/results/memory.toml`). The layout of that memory
in blocks equals vLLM 0.33's own planner on every case: [conformance.md](conformance.md).

| vLLM | Logs | median error | largest error |
|-|-|-|-|
"""


def errors_of(starts: Sequence[Start]) -> list[tuple[Start, float]]:
    """Return predicted over logged KV memory, less 1, of the starts where both are known. [1]"""
    return [(start, e) for start in starts if not math.isnan(e := _error(start))]


def section(starts: Sequence[Start]) -> str:
    """Return the section: errors by version, and the five worst logs."""
    errors = errors_of(starts)
    by_version: dict[tuple[int, int], list[float]] = {}
    for start, error in errors:
        by_version.setdefault(release(start.engine.version), []).append(abs(error))
    rows = [
        f"| {major}.{minor} | {len(found)} | {statistics.median(found):.1%} | {max(found):.1%} |"
        for (major, minor), found in sorted(by_version.items())
    ]
    every = [abs(error) for _, error in errors]
    rows.append(f"| **all** | {len(every)} | {statistics.median(every):.1%} | {max(every):.1%} |")
    worst = sorted(errors, key=lambda one: -abs(one[1]))[:5]
    listed = [f"- {start.name}: {error:+.1%}" for start, error in worst]
    return LEAD + "\n".join([*rows, "", "The five that are furthest off:", "", *listed, ""])


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


def with_section(page: str, text: str) -> str:
    """Return a page whose last section, the one on memory, is this text."""
    return f"{page.partition(HEADING)[0].rstrip()}\n\n{text}"


def main(arguments: Sequence[str]) -> int:
    """Write the section and print it."""
    try:
        if len(arguments) != 1:
            raise TableError("give the folder of logs: calibrate.memory_page DIR.")
        text = section(read_starts(Path(arguments[0]) / "startup.csv"))
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    except (FitcalcError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
