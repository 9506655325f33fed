"""Start-up, warm plan and install size, as ratios that hold on any machine.

Each command runs in a new process; the best of several runs counts, since noise only adds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

from fitcalc import Slo, Traffic, plan
from fitcalc.units import MEGA, MILLI

PYTHON = sys.executable
IMPORTS = [PYTHON, "-c", "import numpy, pydantic, typer, rich"]
FITCALC = [PYTHON, "-m", "fitcalc"]
PLAN = [*FITCALC, "plan", "--model", "70b", "--ctx", "8k", "--qps", "20", "--json"]
RUNS = 7
LIMITS = {"plan / imports": 5.0, "help / imports": 2.0, "warm plan (ms)": 150.0, "core (MB)": 200.0}


def best_s(act: Callable[[], object], runs: int = RUNS) -> float:
    """Shortest of several runs. [s]"""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return min(times)


def process_s(command: list[str]) -> float:
    """Shortest run of a command in a new process. [s]"""
    return best_s(lambda: subprocess.run(command, check=True, capture_output=True))


def warm_plan_s() -> float:
    """Shortest plan through the API once tables are loaded. [s]"""
    traffic, slo = Traffic(qps=20, isl=7168, osl=1024), Slo()
    return best_s(lambda: plan("70b", traffic, slo))


def core_bytes() -> float:
    """Size of fitcalc's required packages on disk, compiled files included. [B]"""
    seen: set[str] = set()
    waiting = ["fitcalc"]
    total = 0.0
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        files = (Path(str(file.locate())) for file in distribution(name).files or ())
        total += sum(path.stat().st_size for path in files if path.is_file())
        wanted = (Requirement(line) for line in requires(name) or ())
        waiting += [w.name for w in wanted if w.marker is None or w.marker.evaluate({"extra": ""})]
    return total


def main() -> None:
    """Print each figure beside its limit."""
    imports = process_s(IMPORTS)
    figures = {
        "plan / imports": process_s(PLAN) / imports,
        "help / imports": process_s([*FITCALC, "--help"]) / imports,
        "warm plan (ms)": warm_plan_s() / MILLI,
        "core (MB)": core_bytes() / MEGA,
    }
    print(f"imports of numpy, pydantic, typer, rich: {imports:.2f} s")
    for name, value in figures.items():
        print(f"{name:16} {value:8.2f}   at most {LIMITS[name]:g}")


if __name__ == "__main__":
    main()
