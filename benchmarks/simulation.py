"""Requests simulated a second on one core, and the memory that a million of them take."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fitcalc
from fitcalc import Rejection, Trace, Traffic
from fitcalc.units import KIB, MIB

GOAL = 20_000.0
RATES = (2.0, 8.0, 20.0)
COUNT = 4000
MOST_MIB = 200.0
"""What a trace of a million requests may take beyond one of a thousand. [MiB]"""


def requests_a_second(qps: float, count: int = COUNT) -> float:
    """Requests simulated a second of this core, in the best of three runs. [1/s]"""
    chat = Traffic(qps=qps, isl=575, osl=248, num_requests=count)
    spans: list[float] = []
    for _ in range(3):
        start = time.process_time()
        if isinstance(fitcalc.simulate("llama-3.1-8b", "h100", None, chat), Rejection):
            raise SystemExit("the benchmark's own question was refused")
        spans.append(time.process_time() - start)
    return count / min(spans)


def write_trace(path: Path, count: int) -> None:
    """Write chat requests at 20 a second."""
    draw = np.random.default_rng(1)
    columns = (
        np.cumsum(draw.exponential(1.0 / 20.0, count)),
        draw.integers(1, 1150, count),
        draw.integers(1, 496, count),
    )
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("arrival_s,input_tokens,output_tokens\n")
        for sent_s, isl, osl in zip(*columns, strict=True):
            file.write(f"{sent_s:.3f},{isl},{osl}\n")


def serve_trace(path: str) -> None:
    """Serve a trace in this process; print its peak memory. [KiB]"""
    if isinstance(fitcalc.simulate("llama-3.1-8b", "h100", None, Trace.read(path)), Rejection):
        raise SystemExit("the benchmark's own question was refused")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_mib(folder: Path, count: int) -> float:
    """Peak memory of a process that serves a trace of so many requests. [MiB]"""
    path = folder / f"{count}.csv.gz"
    write_trace(path, count)
    ran = subprocess.run(
        [sys.executable, __file__, str(path)], capture_output=True, check=True, text=True
    )
    return int(ran.stdout) * KIB / MIB


def main() -> None:
    """Print each figure beside its goal."""
    if len(sys.argv) > 1:
        serve_trace(sys.argv[1])
        return
    for qps in RATES:
        print(f"{qps:4g} req/s {requests_a_second(qps):10,.0f}   at least {GOAL:,.0f} a second")
    with tempfile.TemporaryDirectory() as folder:
        more = peak_mib(Path(folder), 1_000_000) - peak_mib(Path(folder), 1_000)
    print(f"a million requests of a file take {more:.0f} MiB more than a thousand; {MOST_MIB:.0f}")


if __name__ == "__main__":
    main()
