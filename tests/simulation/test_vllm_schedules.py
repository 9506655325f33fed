"""The same schedule, step for step, as vLLM 0.33.0's own scheduler (see drive_vllm.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.arrivals import ClosedLoop, OpenLoop
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.scheduler import SchedulerSettings
from tests.simulation.drive_vllm import Workload, digest
from tests.simulation.laws import LinearLaw

ROWS: list[Workload] = json.loads(Path(__file__).with_name("vllm_schedules.json").read_text())


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_schedule_is_vllms(row: Workload) -> None:
    count, clients = len(row["isl"]), row["concurrency"]
    trace = Trace(np.array(row["arrival_s"]), np.array(row["isl"]), np.array(row["osl"]))
    settings = SchedulerSettings(
        max_num_seqs=row["max_num_seqs"],
        max_num_batched_tokens=row["max_num_batched_tokens"],
        num_gpu_blocks=row["num_gpu_blocks"],
        enable_chunked_prefill=row["enable_chunked_prefill"],
        async_scheduling=row["async_scheduling"],
    )
    loop = OpenLoop() if clients is None else ClosedLoop(clients, [0.0] * count)
    if clients is None:
        for request, time_s in enumerate(row["arrival_s"]):
            loop.push(request, time_s)
    engine = Engine(LinearLaw(), trace, settings, loop)
    engine.run()
    steps = [
        (s.decodes, s.context + i * s.decodes, s.prefill_tokens, s.prefill_work, s.prefills)
        for s in engine.timeline.steps
        for i in range(s.length)
    ]
    assert len(steps) == row["steps"]
    assert digest(steps) == row["digest"]
    assert sum(engine.requests.preemptions) == row["preemptions"]


def test_the_rows_put_the_rules_to_the_test() -> None:
    assert len(ROWS) == 100
    assert sum(row["preemptions"] > 0 for row in ROWS) > 20
    assert {row["async_scheduling"] for row in ROWS} == {True, False}
