"""The simulation against a scheduler written out token by token, and against itself unskipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.arrivals import ClosedLoop, OpenLoop, TimedLoop
from fitcalc.simulation.blocks import BlockRule
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.records import Records
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.units import Array
from tests.simulation.laws import LinearLaw, gaps, reference
from tests.simulation.test_vllm_schedules import steps_of

FIELDS = (
    "arrival_s", "scheduled_s", "first_token_s", "finish_s", "preemptions", "cached_tokens",
)  # fmt: skip


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    count = draw(st.integers(1, 24))
    one = st.lists(st.integers(1, 60), min_size=count, max_size=count)
    waits = st.floats(0.0, 0.2, allow_subnormal=False)
    spread = draw(st.lists(waits, min_size=count, max_size=count))
    if draw(st.booleans()):
        spread = [0.0] * count
    return Trace(
        arrival_s=np.cumsum(spread) - spread[0],
        isl=np.array(draw(one), dtype=np.int64),
        osl=np.array(draw(one), dtype=np.int64),
    )


@st.composite
def servers(draw: st.DrawFn) -> SchedulerSettings:
    seqs = draw(st.integers(1, 12))
    chunked = draw(st.booleans())
    return SchedulerSettings(
        max_num_seqs=seqs,
        max_num_batched_tokens=draw(st.integers(seqs, 64) if chunked else st.integers(120, 200)),
        num_gpu_blocks=draw(st.integers(31, 90)),
        block_size=draw(st.sampled_from([4, 16])),
        enable_chunked_prefill=chunked,
        async_scheduling=draw(st.booleans()),
        enable_prefix_caching=False,  # a preempted request would find its own blocks again
    )


loops = st.one_of(st.none(), st.integers(1, 30))
laws = st.builds(LinearLaw, frontend=st.sampled_from([0.0, 0.013]))


def loop_of(trace: Trace, delays: Array, clients: int | None) -> OpenLoop:
    if clients is not None:
        return ClosedLoop(clients, delays.tolist())
    return TimedLoop(trace.arrival_s + delays)


@settings(max_examples=300)
@given(traces(), servers(), loops, laws)
def test_schedule_equals_token_by_token(
    trace: Trace, server: SchedulerSettings, clients: int | None, law: LinearLaw
) -> None:
    expected, steps = reference(law, trace, server, clients)
    delays = np.asarray(law.frontend_s(trace.isl.astype(float)))
    engine = Engine(law, trace, server, loop_of(trace, delays, clients))
    engine.run()
    assert steps_of(engine) == steps

    seen = simulate_requests(law, trace, server, concurrency=clients)
    told: dict[str, list[float]] = {
        "scheduled_s": [s.scheduled for s in expected],
        "first_token_s": [s.tokens[0] for s in expected],
        "finish_s": [s.tokens[-1] for s in expected],
        "preemptions": [s.preemptions for s in expected],
    }
    for name, values in told.items():
        np.testing.assert_allclose(getattr(seen, name), values, rtol=1e-9, atol=1e-12)
    assert seen.gap_count.sum() == len(gaps(expected)) == (trace.osl - 1).sum()
    assert seen.gap_s @ seen.gap_count == pytest.approx(sum(gaps(expected)))


@given(traces(), servers(), loops, laws)
def test_skipping_changes_nothing(
    trace: Trace, server: SchedulerSettings, clients: int | None, law: LinearLaw
) -> None:
    def run(*, skip: bool) -> Records:
        return simulate_requests(law, trace, server, concurrency=clients, skip=skip)

    fast, slow = run(skip=True), run(skip=False)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-9, atol=0)
    for name in ("busy_s", "running_s"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), rel=1e-9)
    assert fast.kv_usage_peak <= slow.kv_usage_peak + 1e-12  # an end may be seen a step early
    assert fast.kv_usage_s == pytest.approx(slow.kv_usage_s, rel=0.5)
    counts, values = np.sort(fast.gap_s.repeat(fast.gap_count.astype(int))), slow.gap_s
    slowly = np.sort(values.repeat(slow.gap_count.astype(int)))
    np.testing.assert_allclose(counts, slowly, rtol=1e-9)


@given(traces(), servers(), loops, laws)
def test_laws_of_every_schedule(
    trace: Trace, server: SchedulerSettings, clients: int | None, law: LinearLaw
) -> None:
    delays = np.asarray(law.frontend_s(trace.isl.astype(float)))
    engine = Engine(law, trace, server, loop_of(trace, delays, clients))
    engine.run()
    steps = engine.timeline.steps or []
    computed = sum(s.length * s.decodes + s.prefill_tokens for s in steps)
    if not sum(engine.requests.preemptions):
        assert computed == (trace.isl + trace.osl - 1).sum()
    for s in steps:
        assert 0 < s.decodes + s.prefill_tokens <= server.max_num_batched_tokens
        assert s.decodes + s.prefills <= server.max_num_seqs
    engine.diary.close()
    assert 0 < engine.diary.blocks_peak <= engine.usable_blocks
    assert engine.diary.computed_tokens == computed
    assert not engine.scheduler.running
    assert not engine.scheduler.waiting
    engine.scheduler.free_ended(all_of_them=True)
    assert engine._pool.free == engine.usable_blocks


@given(traces(), servers())
def test_first_come_first_scheduled(trace: Trace, server: SchedulerSettings) -> None:
    seen = simulate_requests(LinearLaw(), trace, server)
    assert (np.diff(seen.scheduled_s) >= -1e-12).all()
    assert (seen.queue_s >= -1e-12).all()
    assert (seen.first_token_s <= seen.finish_s).all()


@given(traces(), servers(), st.integers(1, 30), laws)
def test_closed_loop_keeps_its_clients_busy(
    trace: Trace, server: SchedulerSettings, clients: int, law: LinearLaw
) -> None:
    seen = simulate_requests(law, trace, server, concurrency=clients)
    assert (seen.arrival_s[:clients] == 0).all()
    ends = np.sort(seen.finish_s)
    np.testing.assert_allclose(
        seen.arrival_s[clients:], ends[: max(0, len(trace) - clients)], rtol=1e-12
    )


def test_a_lone_request_by_hand() -> None:
    law = LinearLaw(frontend=0.05)
    trace = Trace(np.zeros(1), np.array([100]), np.array([3]))
    seen = simulate_requests(law, trace, SchedulerSettings(8, 64, 100))
    front = float(law.frontend_s(100.0))
    chunks = law.step_s(0, 0, 64, 64 * 32, 0) + law.step_s(0, 0, 36, 36 * 64 + 36 * 18, 1)
    decodes = law.step_s(1, 101) + law.step_s(1, 102)
    assert seen.ttft_s[0] == pytest.approx(front + chunks)
    assert seen.e2e_s[0] == pytest.approx(front + chunks + decodes)
    assert seen.tpot_s[0] == pytest.approx(decodes / 2)


def test_asynchronous_scheduling_delays_who_comes_during_a_step() -> None:
    law = LinearLaw(base=1.0, decode=0.0, token=0.0)
    trace = Trace(np.array([0.0, 1.5]), np.array([4, 4]), np.array([9, 9]))
    server = SchedulerSettings(8, 64, 100)
    synchronous = simulate_requests(law, trace, server)
    asynchronous = simulate_requests(law, trace, replace(server, async_scheduling=True))
    assert synchronous.scheduled_s[1] == pytest.approx(2.0, abs=1e-3)
    assert asynchronous.scheduled_s[1] == pytest.approx(3.0, abs=1e-3)


def test_last_one_running_is_preempted_and_resumes_first() -> None:
    # 4 usable blocks of 4: two sequences of 7 tokens hold 2 each; the first to pass 8 evicts
    trace = Trace(np.zeros(3), np.array([7, 7, 7]), np.array([9, 9, 9]))
    seen = simulate_requests(LinearLaw(), trace, SchedulerSettings(8, 64, 5, block_size=4))
    assert seen.preemptions.tolist() == [0, 1, 0]
    assert seen.finish_s[0] < seen.finish_s[1] < seen.finish_s[2]
    # the resumed one computes prompt and two tokens again, beside nobody
    assert seen.gap_count.sum() == 3 * 8


def test_head_of_the_queue_blocks_those_behind() -> None:
    # 9 usable blocks: the first holds 5, the second wants 8, the third 1
    trace = Trace(np.zeros(3), np.array([70, 120, 8]), np.array([10, 2, 2]))
    seen = simulate_requests(LinearLaw(), trace, SchedulerSettings(8, 512, 10))
    assert seen.scheduled_s[1] >= seen.finish_s[0] - 1e-12
    assert seen.scheduled_s[2] >= seen.scheduled_s[1]


def test_a_step_law_is_written_out_once() -> None:
    law = LinearLaw()
    trace = Trace(np.arange(200, dtype=np.float64) * 0.5, np.full(200, 500), np.full(200, 250))
    seen = simulate_requests(law, trace, SchedulerSettings(64, 2048, 10_000))
    assert law.calls < 10
    assert seen.gap_count.sum() == 200 * 249


@st.composite
def loads(draw: st.DrawFn) -> Trace:
    """Requests with priorities, some of which start alike."""
    trace = draw(traces())
    count = len(trace)
    families = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    own = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    hashes = tuple(
        tuple(10 * family + i if i < shared else 1000 + 10 * number + i for i in range(size))
        for number, (family, shared, size) in enumerate(
            zip(families, own, (trace.isl // 16).tolist(), strict=True)
        )
    )
    return replace(
        trace,
        priority=np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))),
        hash_ids=hashes if draw(st.booleans()) else None,
        hash_block_tokens=16,
    )


@st.composite
def tuned(draw: st.DrawFn) -> SchedulerSettings:
    """Servers with every setting of the scheduler, over every kind of layers."""
    server = draw(servers())
    size, budget = server.block_size, server.max_num_batched_tokens
    full, groups = BlockRule(size, draw(st.integers(1, 2))), draw(st.integers(1, 2))
    window = BlockRule.sliding(draw(st.sampled_from([1, 2])) * size, 20, 2 * budget, groups)
    chunk = BlockRule.chunked(size, 2 * size, 2 * budget, groups)
    rules = draw(st.sampled_from([(), (full, window), (window,), (full, chunk)]))
    seats = draw(st.none() | st.integers(1, server.max_num_seqs))
    return replace(
        server,
        policy=draw(st.sampled_from(["fcfs", "priority"])),
        max_num_active_seqs=seats,
        long_prefill_token_threshold=draw(st.sampled_from([0, 7, 30])),
        prefill_schedule_interval=draw(st.sampled_from([1, 2, 5])),
        watermark=draw(st.sampled_from([0.0, 0.02])),
        enable_prefix_caching=draw(st.booleans()),
        num_gpu_blocks=server.num_gpu_blocks * (4 if rules else 1) + 3,  # beside the watermark
        block_rules=rules,
    )


@settings(max_examples=200)
@given(loads(), tuned(), loops, st.booleans(), st.integers(0, 2))
def test_skipping_changes_nothing_under_any_setting(
    trace: Trace,
    server: SchedulerSettings,
    clients: int | None,
    paced: bool,  # noqa: FBT001
    warmups: int,
) -> None:
    def run(*, skip: bool) -> Records:
        return simulate_requests(
            LinearLaw(),
            trace,
            server,
            concurrency=clients,
            paced=paced,
            warmups=warmups,
            skip=skip,
        )

    fast, slow = run(skip=True), run(skip=False)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-9, atol=0)
    counts, values = np.sort(fast.gap_s.repeat(fast.gap_count.astype(int))), slow.gap_s
    slowly = np.sort(values.repeat(slow.gap_count.astype(int)))
    np.testing.assert_allclose(counts, slowly, rtol=1e-9)


def test_who_runs_alone_and_loses_its_blocks_runs_again_at_once() -> None:
    trace = Trace(
        np.zeros(12),
        np.array([38, 25, 16, 52, 22, 7, 43, 22, 43, 43, 29, 27]),
        np.array([34, 23, 2, 10, 25, 32, 1, 1, 1, 1, 1, 3]),
    )
    server = SchedulerSettings(
        8,
        120,
        48,
        block_size=4,
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        long_prefill_token_threshold=7,
        prefill_schedule_interval=5,
    )
    fast, slow = (
        simulate_requests(LinearLaw(), trace, server, skip=skip) for skip in (True, False)
    )
    np.testing.assert_allclose(fast.finish_s, slow.finish_s, rtol=1e-9)
    np.testing.assert_array_equal(fast.gap_count.sum(), trace.osl.sum() - 12)
    assert fast.preemptions.sum() == fast.servers[0].series.sums[-1].sum() > 0
