"""The same schedule, step for step, as vLLM 0.33.0's own scheduler (see drive_vllm.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.arrivals import ClosedLoop, TimedLoop
from fitcalc.simulation.blocks import BlockRule
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.settings import SchedulerSettings
from tests.simulation.laws import LinearLaw
from tests.simulation.workloads import BLOCK, HYBRIDS, KINDS, Workload, digest, groups_of

ROWS: list[Workload] = json.loads(Path(__file__).with_name("vllm_schedules.json").read_text())
SAME = (
    "max_num_seqs", "max_num_batched_tokens", "num_gpu_blocks", "enable_chunked_prefill",
    "async_scheduling", "enable_prefix_caching",
)  # fmt: skip
PERHAPS = (
    "max_num_active_seqs", "long_prefill_token_threshold", "prefill_schedule_interval", "watermark",
)  # fmt: skip


def rule_of(kind: str, reach: int, size: int, groups: int, in_flight: int) -> BlockRule:
    """How a kind of layers takes blocks."""
    if kind == "window":
        return BlockRule.sliding(size, reach, in_flight, groups)
    if kind == "chunk":
        return BlockRule.chunked(size, reach, in_flight, groups)
    return BlockRule(size, groups)


def serve(row: Workload, *, skip: bool = True) -> Engine:
    """Serve a stored workload."""
    count, clients = len(row["isl"]), row["concurrency"]
    trace = Trace(
        arrival_s=np.array(row["arrival_s"]),
        isl=np.array(row["isl"]),
        osl=np.array(row["osl"]),
        hash_ids=tuple(map(tuple, row["hash_ids"])) if "hash_ids" in row else None,
        hash_block_tokens=BLOCK,
        priority=np.array(row["priority"]) if "priority" in row else None,
    )
    rules = tuple(rule_of(*group, row["max_in_flight"]) for group in groups_of(row))
    settings = SchedulerSettings(
        **{key: row[key] for key in SAME},
        **{key: row[key] for key in PERHAPS if row.get(key) is not None},
        policy="priority" if "priority" in row else "fcfs",
        block_rules=() if rules == (BlockRule(BLOCK),) else rules,
    )
    loop = TimedLoop(trace.arrival_s) if clients is None else ClosedLoop(clients, [0.0] * count)
    engine = Engine(LinearLaw(), trace, settings, loop, skip=skip)
    engine.run()
    return engine


def steps_of(engine: Engine) -> list[tuple[int, int, int, float, int]]:
    """Every step of an engine, one by one."""
    return [
        (s.decodes, s.context + i * s.decodes, s.prefill_tokens, s.prefill_work, s.prefills)
        for s in engine.timeline.steps or ()
        for i in range(s.length)
    ]


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row['kind']}" for i, row in enumerate(ROWS)])
def test_schedule_is_vllms(row: Workload) -> None:
    engine = serve(row)
    steps = steps_of(engine)
    assert len(steps) == row["steps"]
    assert digest(steps) == row["digest"]
    assert sum(engine.requests.preemptions) == row["preemptions"]


@pytest.mark.parametrize("kind", KINDS + HYBRIDS)
def test_skipping_changes_no_schedule(kind: str) -> None:
    for row in [row for row in ROWS if row["kind"] == kind][:8]:
        fast, slow = serve(row), serve(row, skip=False)
        assert steps_of(fast) == steps_of(slow)
        np.testing.assert_allclose(fast.requests.finish_s, slow.requests.finish_s, rtol=1e-9)


def test_the_rows_put_the_rules_to_the_test() -> None:
    assert len(ROWS) >= 500
    assert sum(row["preemptions"] > 0 for row in ROWS) > 60
    for kind in KINDS + HYBRIDS:
        mine = [row for row in ROWS if row["kind"] == kind]
        assert {row["async_scheduling"] for row in mine} == {True, False}
        assert sum(row["preemptions"] > 0 for row in mine) > 5
