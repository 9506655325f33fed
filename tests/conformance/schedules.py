"""Step vLLM's scheduler anew through stored workloads: its answers are those stored.

    python -m tests.conformance.schedules ENVIRONMENT

tests/simulation compares fitcalc's schedules with the stored answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.compare import surroundings

ROOT = Path(__file__).parents[2]
DRIVER = "tests.simulation.drive_vllm"
COUNTS = (120, 60)
"""How many of each kind: with one way to keep blocks, and with prefixes over several. [1]"""
STORED = 350
"""Where the second kind starts. [1]"""


def main() -> None:
    """Ask again and compare; fail on any difference."""
    environment = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "schedules.json"
        done = subprocess.run(
            [environment / "venv/bin/python", "-m", DRIVER, said, *map(str, COUNTS)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | surroundings(environment),
        )
        if done.returncode:
            raise SystemExit(f"vLLM's scheduler failed:\n{done.stderr[-3000:]}")
        rows = json.loads(said.read_text())
    stored = json.loads((ROOT / "tests/simulation/vllm_schedules.json").read_text())
    stored = stored[: COUNTS[0]] + stored[STORED : STORED + COUNTS[1]]
    equal = sum(a == b for a, b in zip(rows, stored, strict=True))
    sys.stdout.write(f"schedules equal to those stored: {equal} of {len(rows)}\n")
    if equal < len(rows):
        raise SystemExit("run tests/simulation/drive_vllm.py and review what changed")


if __name__ == "__main__":
    main()
