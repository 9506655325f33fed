"""Replicas, routers, reports: what users feel, and when a service is overloaded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.answers import Bottleneck, Calibrated, Interval
from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.simulation.fleet import Router, simulate_requests
from fitcalc.simulation.quantiles import percentiles
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import simulation
from fitcalc.simulation.settings import SchedulerSettings
from tests.simulation.laws import LinearLaw

CHAT = SchedulerSettings(256, 2048, 30_000)
COLUMNS = ("arrival_s", "scheduled_s", "first_token_s", "finish_s", "isl", "osl")


def chat(qps: float, count: int, seed: int = 0) -> Trace:
    return Trace.from_traffic(Traffic(qps=qps, isl=575, osl=248, num_requests=count), seed=seed)


@pytest.mark.parametrize("router", list(Router))
def test_every_request_is_served_once(router: str) -> None:
    trace = chat(40, 600)
    seen = simulate_requests(LinearLaw(), trace, CHAT, replicas=3, router=router)
    np.testing.assert_array_equal(seen.arrival_s, trace.arrival_s)
    assert (seen.first_token_s > seen.arrival_s).all()
    assert (seen.gap_count.sum()) == (trace.osl - 1).sum()
    again = simulate_requests(LinearLaw(), trace, CHAT, replicas=3, router=router)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(seen, name), getattr(again, name))


def test_a_turn_on_each_replica_is_each_replica_alone() -> None:
    trace = chat(20, 100)
    both = simulate_requests(LinearLaw(), trace, CHAT, replicas=2)
    for replica in (0, 1):
        mine = np.arange(replica, 100, 2)
        alone = simulate_requests(LinearLaw(), trace.part(mine), CHAT)
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(both, name)[mine], getattr(alone, name))


def test_one_replica_needs_no_router() -> None:
    trace = chat(20, 200)
    runs = [simulate_requests(LinearLaw(), trace, CHAT, router=router) for router in Router]
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].finish_s, other.finish_s)


def test_least_requests_avoids_the_busy_replica() -> None:
    # one long request, then short ones far apart: the first replica stays busy, so the others
    # all go to the second
    trace = Trace(
        arrival_s=np.arange(6, dtype=np.float64) * 2.0,
        isl=np.full(6, 64),
        osl=np.array([4000, 5, 5, 5, 5, 5]),
    )
    law = LinearLaw()
    seen = simulate_requests(law, trace, CHAT, replicas=2, router="least_requests")
    alone = simulate_requests(law, trace.part(np.array([0])), CHAT)
    assert seen.finish_s[0] == pytest.approx(alone.finish_s[0])
    turns = simulate_requests(law, trace, CHAT, replicas=2)
    assert turns.finish_s[0] > alone.finish_s[0]


def test_least_requests_beats_chance_at_the_tail() -> None:
    trace = Trace.from_traffic(
        Traffic(qps=64, isl=575, osl=248, burstiness=0.5, num_requests=1500), seed=1
    )
    tails = {
        router: simulation(
            simulate_requests(LinearLaw(), trace, CHAT, replicas=4, router=router)
        ).ttft_ms.p95
        for router in (Router.LEAST_REQUESTS, Router.RANDOM)
    }
    assert tails[Router.LEAST_REQUESTS] < tails[Router.RANDOM]


def test_clients_are_dealt_out() -> None:
    trace = Trace(np.zeros(40), np.full(40, 64), np.full(40, 20))
    seen = simulate_requests(LinearLaw(), trace, CHAT, concurrency=5, replicas=2)
    assert (seen.arrival_s == 0).sum() == 5
    with pytest.raises(InvalidValue, match="concurrency"):
        simulate_requests(LinearLaw(), trace, CHAT, concurrency=1, replicas=2)


@pytest.mark.parametrize(("qps", "stable"), [(5, True), (20, True), (33, False), (100, False)])
def test_overload_ends_and_is_called_unstable(qps: float, stable: bool) -> None:  # noqa: FBT001
    # the full batch of 256 ends 26.7 requests a second under this law
    answer = simulation(simulate_requests(LinearLaw(), chat(qps, 2_000), CHAT))
    assert answer.stable == stable
    if not stable:
        assert answer.requests_per_s < 0.95 * qps
        assert answer.queue_ms.p95 > 1_000


def test_a_closed_loop_is_always_stable() -> None:
    trace = chat(1, 64)
    seen = simulate_requests(LinearLaw(), trace, SchedulerSettings(4, 512, 500), concurrency=64)
    assert simulation(seen).stable


def test_littles_law() -> None:
    trace = Trace(np.zeros(640), np.full(640, 575), np.full(640, 248))
    law = LinearLaw(frontend=0.02)
    seen = simulate_requests(law, trace, CHAT, concurrency=32)
    answer = simulation(seen)
    inside = answer.requests_per_s * seen.e2e_s.mean()
    assert inside == pytest.approx(32, rel=0.03)
    assert answer.steady_batch < 32
    only_added = simulate_requests(law, trace, CHAT, concurrency=32, frontend_delays=False)
    bare = simulate_requests(LinearLaw(), trace, CHAT, concurrency=32)
    extra = only_added.ttft_s - bare.ttft_s
    np.testing.assert_allclose(extra, law.frontend_s(575.0), rtol=1e-6)


def test_throughput_is_tokens_over_time() -> None:
    trace = chat(10, 300)
    seen = simulate_requests(LinearLaw(), trace, CHAT)
    answer = simulation(seen, seed=7)
    assert answer.seed == 7
    assert answer.output_tokens_per_s == pytest.approx(300 * 248 / seen.duration_s)
    assert answer.total_tokens_per_s == pytest.approx(300 * 823 / seen.duration_s)
    assert answer.steady_batch == pytest.approx(
        (seen.finish_s - seen.scheduled_s).sum() / seen.duration_s, rel=1e-6
    )
    said = answer.prediction(
        kv_cache_tokens=480_000,
        max_concurrency=583,
        bottleneck=Bottleneck.COMPUTE,
        shares={},
        calibrated=Calibrated.MEASURED,
        interval=Interval(ttft_ms=(1, 2), tpot_ms=(1, 2)),
    )
    assert said.method == "simulation"
    assert said.ttft_ms == answer.ttft_ms


def test_usage_by_rows_is_usage_by_steps() -> None:
    trace = chat(10, 300)
    runs: list[Records] = [
        simulate_requests(LinearLaw(), trace, CHAT, skip=skip) for skip in (True, False)
    ]
    assert runs[0].kv_usage_s == pytest.approx(runs[1].kv_usage_s, rel=2e-3)
    assert runs[0].kv_usage_peak == pytest.approx(runs[1].kv_usage_peak)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 6)), min_size=1, max_size=30))
def test_weighted_percentiles_are_numpys(pairs: list[tuple[float, int]]) -> None:
    values, counts = np.array([v for v, _ in pairs]), np.array([c for _, c in pairs], dtype=float)
    said = percentiles(values, counts)
    felt = np.repeat(values, counts.astype(int)) * 1e3
    if not len(felt):
        assert said.p99 == 0.0
        return
    for share in (50, 90, 95, 99):
        expected = np.percentile(felt, share)
        assert getattr(said, f"p{share}") == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert said.mean == pytest.approx(felt.mean(), abs=1e-9)


def test_progress_is_told() -> None:
    told: list[int] = []
    for router in (Router.ROUND_ROBIN, Router.LEAST_REQUESTS):
        told.clear()
        simulate_requests(
            LinearLaw(),
            chat(20, 500),
            CHAT,
            replicas=3,
            router=router,
            progress=lambda ended, _total: told.append(ended),
        )
        assert told == sorted(told)
        assert 480 < told[-1] <= 500
        assert len(told) > 100


@pytest.mark.parametrize(
    ("server", "field"),
    [
        (SchedulerSettings(0, 512, 100), "max_num_seqs"),
        (SchedulerSettings(64, 32, 100), "max_num_batched_tokens"),
        (SchedulerSettings(64, 512, 1), "num_gpu_blocks"),
        (SchedulerSettings(64, 512, 50), "num_gpu_blocks"),
        (SchedulerSettings(64, 512, 100, enable_chunked_prefill=False), "max_num_batched_tokens"),
    ],
)
def test_what_can_never_run_is_refused(server: SchedulerSettings, field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        simulate_requests(LinearLaw(), chat(1, 2), server)


def test_unknown_routers_are_refused() -> None:
    with pytest.raises(UnknownName, match="round_robin"):
        simulate_requests(LinearLaw(), chat(1, 2), CHAT, router="roundrobin")
    with pytest.raises(InvalidValue, match="replicas"):
        simulate_requests(LinearLaw(), chat(1, 2), CHAT, replicas=0)
    with pytest.raises(InvalidValue, match="concurrency"):
        simulate_requests(LinearLaw(), chat(1, 2), CHAT, concurrency=0)
