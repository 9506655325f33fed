"""Step vLLM's scheduler anew through the first stored workloads: its answers are those stored.

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

FOLDER = Path(__file__).parents[1] / "simulation"
COUNT = 120


def main() -> None:
    """Ask again and compare; fail on any difference."""
    environment = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "schedules.json"
        done = subprocess.run(
            [environment / "venv/bin/python", FOLDER / "drive_vllm.py", said, str(COUNT)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | surroundings(environment),
        )
        if done.returncode:
            raise SystemExit(f"vLLM's scheduler failed:\n{done.stderr[-3000:]}")
        rows = json.loads(said.read_text())
    stored = json.loads((FOLDER / "vllm_schedules.json").read_text())[:COUNT]
    equal = sum(a == b for a, b in zip(rows, stored, strict=True))
    sys.stdout.write(f"schedules equal to those stored: {equal} of {COUNT}\n")
    if equal < COUNT:
        raise SystemExit("run tests/simulation/drive_vllm.py and review what changed")


if __name__ == "__main__":
    main()
