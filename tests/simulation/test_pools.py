"""Routers that look, replicas that fail, pools that share the work, and ways to batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fitcalc.errors import InvalidValue
from fitcalc.inputs.fleet import Outage
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.simulation.batching import Batching, compare_batching
from fitcalc.simulation.disaggregated import simulate_disaggregated
from fitcalc.simulation.fleet import Replica, Router, simulate_fleet, simulate_requests
from fitcalc.simulation.settings import SchedulerSettings
from tests.simulation.laws import LinearLaw

CHAT = SchedulerSettings(256, 2048, 30_000)


def chat(qps: float, count: int, seed: int = 0) -> Trace:
    lengths = Lengths.lognormal(mean=300, cv=1.0)
    traffic = Traffic(qps=qps, isl=lengths, osl=Lengths.lognormal(mean=100, cv=1.0))
    return Trace.from_traffic(traffic, seed=seed, num_requests=count)


def test_sessions_stick_and_their_prefixes_hit() -> None:
    count, sessions = 400, 40
    who = np.arange(count) % sessions
    turn = np.arange(count) // sessions
    ids = tuple(
        tuple(range(s * 1000, s * 1000 + 4 * (t + 1))) for s, t in zip(who, turn, strict=True)
    )
    trace = Trace(
        arrival_s=np.arange(count, dtype=np.float64) * 0.05,
        isl=np.array([16 * len(own) + 1 for own in ids]),
        osl=np.full(count, 10),
        hash_ids=ids,
        hash_block_tokens=16,
        session=who,
    )
    hits = {
        router: int(
            simulate_requests(
                LinearLaw(), trace, CHAT, replicas=4, router=router
            ).cached_tokens.sum()
        )
        for router in Router
    }
    whole = int((trace.isl - 65)[trace.isl > 65].sum())
    assert hits[Router.SESSION] == hits[Router.PREFIX] == whole
    assert hits[Router.RANDOM] < 0.7 * whole


def test_the_emptier_kv_cache_is_chosen() -> None:
    # one long prompt holds most of the first replica's blocks; five short ones hold less
    trace = Trace(
        np.concatenate(([0.0], np.arange(1, 9) * 0.2)),
        np.array([8000] + [64] * 8),
        np.full(9, 400),
    )
    server = replace(CHAT, num_gpu_blocks=1000, enable_prefix_caching=False)
    seen = simulate_requests(LinearLaw(), trace, server, replicas=2, router="least_kv_usage")
    assert seen.replica.tolist() == [0] + [1] * 8


def test_a_faster_replica_gets_more() -> None:
    slow = Replica(LinearLaw(base=30e-3), CHAT)
    fast = Replica(LinearLaw(base=6e-3), CHAT)
    seen = simulate_fleet([slow, fast], chat(40, 1500), router=Router.LEAST_REQUESTS)
    assert seen.servers[1].requests > 1.5 * seen.servers[0].requests
    assert sum(server.requests for server in seen.servers) == 1500
    turns = simulate_fleet([slow, fast], chat(40, 1500))
    assert np.percentile(seen.e2e_s, 99) < np.percentile(turns.e2e_s, 99)


@pytest.mark.parametrize("router", list(Router))
def test_a_failing_replica_loses_time_and_no_request(router: str) -> None:
    trace = chat(30, 900)
    fleet = [Replica(LinearLaw(), CHAT)] * 3
    outage = Outage(replica=1, start_s=8.0, end_s=20.0)
    seen = simulate_fleet(fleet, trace, router=router, outages=[outage])
    whole = simulate_fleet(fleet, trace, router=router)
    assert (seen.finish_s > seen.arrival_s).all()
    np.testing.assert_array_equal(seen.arrival_s, trace.arrival_s)
    down = (seen.finish_s > 8.0) & (seen.finish_s < 20.0)
    assert not (seen.replica[down] == 1).any()
    assert (seen.replica[seen.finish_s < 8.0] == 1).any()
    assert (seen.replica[seen.arrival_s > 20.5] == 1).any()
    assert seen.e2e_s.mean() > whole.e2e_s.mean()
    assert len(seen.servers) == 3


def test_when_every_replica_is_down_requests_wait() -> None:
    fleet = [Replica(LinearLaw(), CHAT)]
    seen = simulate_fleet(fleet, chat(30, 100), outages=[Outage(0, 1.0, 9.0)])
    assert not ((seen.finish_s > 1.0) & (seen.finish_s < 9.0)).any()
    with pytest.raises(InvalidValue, match="outages"):
        simulate_fleet(fleet, chat(30, 100), outages=[Outage(0, 1.0)])
    with pytest.raises(InvalidValue, match="outages"):
        simulate_fleet(fleet, chat(30, 100), outages=[Outage(3, 1.0)])


def test_a_lone_request_through_two_pools_by_hand() -> None:
    law = LinearLaw(frontend=0.05)
    trace = Trace(np.zeros(1), np.array([1000]), np.array([3]))
    pool = [Replica(law, CHAT)]
    handover = 1e-3 + 1000 * 131072.0 / 12.5e9
    seen = simulate_disaggregated(pool, pool, trace, [np.array([handover])])
    prefill = float(law.frontend_s(1000.0)) + float(law.step_s(0, 0, 1000, 500_000.0, 1))
    again = float(law.step_s(0, 0, 1, 999.5, 1))
    decodes = float(law.step_s(1, 1001) + law.step_s(1, 1002))
    assert seen.handover_s[0] == pytest.approx(handover)
    assert seen.clients.ttft_s[0] == pytest.approx(prefill + handover + again)
    assert seen.clients.e2e_s[0] == pytest.approx(prefill + handover + again + decodes)


def test_pools_keep_prompts_out_of_the_gaps() -> None:
    trace = chat(20, 1000)
    pool = [Replica(LinearLaw(), CHAT)]
    apart = simulate_disaggregated(
        pool, pool, trace, [np.asarray(131072.0 / 50e9 * trace.isl, dtype=np.float64)]
    )
    together = simulate_requests(LinearLaw(), trace, CHAT, replicas=2, router="least_requests")
    mean = {
        name: seen.gap_s @ seen.gap_count / seen.gap_count.sum()
        for name, seen in (("apart", apart.clients), ("together", together))
    }
    assert mean["apart"] < mean["together"]
    assert (apart.clients.finish_s >= apart.clients.first_token_s).all()
    with pytest.raises(InvalidValue, match="prefill and decode"):
        simulate_disaggregated([], pool, trace, [])


def test_ways_to_batch_side_by_side() -> None:
    trace = chat(1, 300)
    runs = compare_batching(LinearLaw(), trace, CHAT, batch=16, window_s=0.1)
    static, dynamic, continuous = (runs[b] for b in Batching)
    # without cache hits or preemption nothing is computed twice, and padding is all the waste
    assert continuous.waste == pytest.approx(0.0, abs=1e-12)
    assert static.waste > 0.3
    for run in (static, dynamic):
        assert (run.finish_s >= run.arrival_s).all()
        assert continuous.finish_s.mean() < run.finish_s.mean()
    assert (dynamic.finish_s - trace.arrival_s).mean() < (static.finish_s - trace.arrival_s).mean()


def test_one_padded_batch_by_hand() -> None:
    law = LinearLaw()
    trace = Trace(np.array([0.0, 0.4]), np.array([10, 50]), np.array([3, 8]))
    run = compare_batching(law, trace, CHAT, batch=2, window_s=1.0)[Batching.STATIC]
    prefill = law.step_s(0, 0, 100, 2 * 1250.0, 2)
    decodes = sum(law.step_s(2, 2 * (51 + i)) for i in range(7))
    assert run.finish_s.tolist() == pytest.approx([0.4 + prefill + decodes] * 2)
    assert run.computed_tokens == 2 * 57
    assert run.useful_tokens == 12 + 57
    with pytest.raises(InvalidValue, match="batch"):
        compare_batching(law, trace, CHAT, batch=0)
