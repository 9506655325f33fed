"""Time vLLM's scheduler on one workload: time_vllm.py WORK.json SAID.json."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.simulation import drive_vllm


class Timed:
    """vLLM's scheduler, its two calls of a step timed."""

    def __init__(self, server: Any) -> None:
        self.server, self.seconds = server, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    def schedule(self) -> Any:
        start = time.process_time()
        out = self.server.schedule()
        self.seconds += time.process_time() - start
        return out

    def update_from_output(self, *args: Any) -> Any:
        start = time.process_time()
        out = self.server.update_from_output(*args)
        self.seconds += time.process_time() - start
        return out


def main() -> None:
    """Drive the workload and write steps, digest and seconds."""
    made: list[Timed] = []
    build = drive_vllm.scheduler

    def timed(work: dict[str, Any]) -> Timed:
        made.append(Timed(build(work)))
        return made[-1]

    drive_vllm.scheduler = timed
    row = drive_vllm.drive(json.loads(Path(sys.argv[1]).read_text()))
    said = {"steps": row["steps"], "digest": row["digest"], "seconds": made[-1].seconds}
    Path(sys.argv[2]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
