"""The simulation's memory hardly grows with the trace (its speed: benchmarks/simulation.py)."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

_PEAK = """
import resource, sys
import fitcalc
trace = fitcalc.Trace.read(sys.argv[1])
done = fitcalc.simulate("llama-3.1-8b", "h100", None, trace)
assert done.num_requests == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_hardly_grows(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.csv.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write("arrival_s,input_tokens,output_tokens\n")
            for number in range(count):
                isl, osl = number * 7919 % 1100 + 1, number * 104_729 % 480 + 1
                file.write(f"{number / 20},{isl},{osl}\n")
        ran = subprocess.run(
            [sys.executable, "-c", _PEAK, str(path), str(count)],
            capture_output=True,
            check=True,
            text=True,
        )
        return int(ran.stdout)

    # a million may take 200 MB more than a thousand; sixty thousand a twelfth of that, and the
    # gaps that are kept exact
    assert peak(60_000) - peak(1_000) < 50_000  # [KiB]
