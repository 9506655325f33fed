"""The simulation's memory does not grow with the trace (its speed: benchmarks/simulation.py)."""

from __future__ import annotations

import subprocess
import sys

_PEAK = """
import resource, sys
import fitcalc
count = int(sys.argv[1])
chat = fitcalc.Traffic(qps=20, isl=575, osl=248, num_requests=count)
assert fitcalc.simulate("llama-3.1-8b", "h100", None, chat).num_requests == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_hardly_grows() -> None:
    def peak(count: int) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", _PEAK, str(count)], capture_output=True, check=True, text=True
        )
        return int(ran.stdout)

    # a million may take 200 MB more than a thousand; sixty thousand a twelfth of that, and the
    # gaps that are kept exact
    assert peak(60_000) - peak(1_000) < 50_000  # [KiB]
