"""Steps a second of fitcalc's simulation and of vLLM's own scheduler on the same requests.

    python -m tests.conformance.beside_vllm ENVIRONMENT

vLLM's time counts schedule() and update_from_output() alone, without any model; fitcalc's counts
the whole simulation. The schedules must be equal, step for step.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conformance.compare import surroundings
from tests.simulation.test_vllm_schedules import serve, steps_of
from tests.simulation.workloads import Workload, digest

DRIVER = Path(__file__).with_name("time_vllm.py")
GOAL = 5.0
"""Times as many steps a second as vLLM's scheduler. [1]"""
RATES = (8.0, 20.0)


def chat(rate: float, count: int = 300) -> Workload:
    """Requests of 575 tokens in and 248 out on a server with room for all."""
    draw = random.Random(0)  # noqa: S311
    arrival_s = [0.0]
    while len(arrival_s) < count:
        arrival_s.append(round(arrival_s[-1] + draw.expovariate(rate), 6))
    return {
        "kind": "plain",
        "isl": [575] * count,
        "osl": [248] * count,
        "arrival_s": arrival_s,
        "concurrency": None,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "max_in_flight": 2 * 8192,
        "num_gpu_blocks": 27_000,
        "enable_chunked_prefill": True,
        "async_scheduling": True,
        "enable_prefix_caching": False,
    }


def main() -> None:
    """Time both; fail where the goal is missed or the schedules differ."""
    environment = Path(sys.argv[1]).resolve()
    for rate in RATES:
        work = chat(rate)
        theirs = _vllm(environment, work)
        spans = []
        for _ in range(3):
            start = time.process_time()
            engine = serve(work)
            spans.append(time.process_time() - start)
        steps = steps_of(engine)
        if digest(steps) != theirs["digest"]:
            raise SystemExit(f"the schedules differ at {rate:g} requests a second")
        ours, vllm = len(steps) / min(spans), theirs["steps"] / theirs["seconds"]
        line = f"{rate:4g} req/s: {ours:,.0f} steps/s, vLLM's scheduler {vllm:,.0f}"
        sys.stdout.write(f"{line}: {ours / vllm:.1f} times, at least {GOAL:g}\n")
        if ours < GOAL * vllm:
            raise SystemExit("the simulation is slower than promised")


def _vllm(environment: Path, work: Workload) -> Workload:
    with tempfile.TemporaryDirectory() as folder:
        asked, said = Path(folder) / "work.json", Path(folder) / "said.json"
        asked.write_text(json.dumps(work))
        done = subprocess.run(
            [environment / "venv/bin/python", DRIVER, asked, said],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | surroundings(environment),
        )
        if done.returncode:
            raise SystemExit(f"vLLM's scheduler failed:\n{done.stderr[-3000:]}")
        found: Workload = json.loads(said.read_text())
    return found


if __name__ == "__main__":
    main()
