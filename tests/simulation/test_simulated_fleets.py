"""Fleets and pools as people ask for them: through Python and the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fitcalc
from fitcalc import EngineArgs, Outage, Pools, Servers, Simulation, Slo, Trace, Traffic
from fitcalc.catalog.link import inter_node_link
from fitcalc.cli.main import run
from fitcalc.errors import FitcalcError
from fitcalc.simulation.disaggregated import simulate_disaggregated
from fitcalc.simulation.fleet import Replica, Router, simulate_fleet, simulate_requests
from fitcalc.simulation.progress import Stopped
from fitcalc.simulation.settings import SchedulerSettings
from tests.simulation.laws import LinearLaw

SERVER = SchedulerSettings(64, 1024, 2000)
CHAT = Traffic(qps=30, isl=575, osl=100, num_requests=600)
LINE = (
    "simulate", "--model", "llama-3.1-8b", "--gpu", "h100",
    "--isl", "575", "--osl", "100", "--qps", "30", "--num-requests", "600", "--json",
)  # fmt: skip


def simulated(engine: EngineArgs | None = None, **how: Any) -> Simulation:
    seen = fitcalc.simulate("llama-3.1-8b", "h100", engine, CHAT, **how)
    assert isinstance(seen, Simulation)
    return seen


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = run((*LINE, *words))
    said = capsys.readouterr()
    return code, json.loads(said.out) if code == 0 else {}, said.err


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    rows = draw(
        st.lists(
            st.tuples(st.floats(0, 3), st.integers(1, 900), st.integers(1, 60)),
            min_size=1,
            max_size=40,
        )
    )
    times, isl, osl = zip(*sorted(rows), strict=True)
    return Trace(np.array(times), np.array(isl), np.array(osl))


@given(traces(), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_round_robin_is_the_split_by_hand(trace: Trace, replicas: int) -> None:
    law = LinearLaw(frontend=0.01)
    whole = simulate_requests(law, trace, SERVER, replicas=replicas)
    for first in range(min(replicas, len(trace))):
        mine = np.arange(first, len(trace), replicas)
        alone = simulate_requests(law, trace.part(mine), SERVER)
        np.testing.assert_allclose(whole.finish_s[mine], alone.finish_s, rtol=1e-12)
        assert (whole.replica[mine] == first).all()


@given(
    traces(), st.sampled_from(list(Router)), st.floats(0.0, 4.0), st.floats(0.1, 5.0),
    st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_an_outage_never_loses_a_request(
    trace: Trace, router: str, start: float, lasting: float, which: int
) -> None:
    fleet = [Replica(LinearLaw(), SERVER)] * 3
    outages = [Outage(which, start, start + lasting), Outage((which + 1) % 3, start)]
    seen = simulate_fleet(fleet, trace, router=router, outages=outages)
    assert (seen.finish_s >= seen.first_token_s).all()
    assert (seen.first_token_s > seen.arrival_s).all()
    np.testing.assert_array_equal(seen.osl, trace.osl)
    assert sum(one.requests for one in seen.servers) == len(trace)
    down = (seen.finish_s > start) & (seen.finish_s < start + lasting)
    assert not (seen.replica[down] == which).any()


@given(traces(), st.integers(1, 3), st.integers(1, 3), st.floats(0.0, 0.2))
@settings(max_examples=30, deadline=None)
def test_tokens_are_conserved_through_pools(
    trace: Trace, prefill: int, decode: int, sending: float
) -> None:
    pool = Replica(LinearLaw(), replace(SERVER, num_gpu_blocks=10**6, enable_prefix_caching=False))
    sent = [np.full(len(trace), sending)] * prefill
    seen = simulate_disaggregated([pool] * prefill, [pool] * decode, trace, sent)
    computed = [sum(s.computed_tokens for s in p.servers) for p in (seen.prefill, seen.decode)]
    assert computed == [trace.isl.sum(), trace.osl.sum()]  # the last prompt token again
    assert (seen.handover_s >= sending - 1e-12).all()
    np.testing.assert_array_equal(seen.clients.arrival_s, trace.arrival_s)
    assert (seen.clients.first_token_s > seen.prefill.finish_s + sending).all()


def test_groups_differ_in_python_and_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = EngineArgs(max_num_seqs=8)
    fleet = [Servers(2), Servers(1, "l40s", small)]
    seen = simulated(replicas=fleet, router="least_requests", seed=3)
    assert [one.name for one in seen.servers] == ["h100_sxm", "h100_sxm", "l40s"]
    assert sum(one.num_requests for one in seen.servers) == 600
    assert seen.servers[2].num_requests < seen.servers[0].num_requests
    words = ("--replicas", "2", "--replicas", "1,gpu=l40s,max-num-seqs=8")
    code, out, _ = asked(capsys, *words, "--router", "least_requests", "--seed", "3")
    assert code == 0
    assert Simulation(**out) == seen
    assert simulated(replicas=[Servers(3)]) == simulated(replicas=3)


def test_a_server_that_fails_takes_its_ranks_along() -> None:
    engine = EngineArgs(data_parallel_size=2)
    seen = simulated(engine, replicas=2, outages=[Outage(1, 0.0)])
    assert [(one.server, one.rank) for one in seen.servers] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [one.num_requests > 0 for one in seen.servers] == [True, True, False, False]


def test_pools_in_python_and_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seen = simulated(pools=Pools(2, 1, "infiniband_400g"))
    assert seen.handover_ms is not None
    assert [len(seen.prefill_servers), len(seen.servers), seen.replicas] == [2, 1, 3]
    # 131,072 bytes a token of Llama 3.1 8B: 32 layers, 8 heads of 128, key and value, 2 bytes
    assert seen.handover_ms.p50 > 575 * 131072 / inter_node_link().bandwidth * 1e3
    assert simulated(pools=Pools(2, 1)) == seen  # the link that plans assume
    slow = simulated(pools=Pools(2, 1, "pcie3_x16"))
    assert slow.handover_ms is not None
    assert slow.handover_ms.mean > 2 * seen.handover_ms.mean
    path = tmp_path / "run.csv"
    words = ("--prefill-replicas", "2", "--decode-replicas", "1", "--records", str(path))
    code, out, _ = asked(capsys, *words)
    assert code == 0
    assert Simulation(**out) == seen
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["prefill_replica"] for row in rows} == {"0", "1"}
    mean = np.mean([float(row["handover_s"]) for row in rows])
    assert mean * 1e3 == pytest.approx(seen.handover_ms.mean)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--replicas", "none"), "replicas"),
        (("--replicas", "2,gpu"), "replicas"),
        (("--replicas", "1,max_seqs=3"), "max_num_seqs"),
        (("--replicas", "0"), "replicas"),
        (("--outage", "1@60s"), "outage"),
        (("--outage", "1@1s-2s"), "outages"),
        (("--outage", "0@2s-1s"), "outages"),
        (("--outage", "0@1s-"), "outages"),
        (("--outage", "0@1s-9s", "--outage", "0@5s-6s"), "outages"),
        (("--prefill-replicas", "1"), "decode_replicas"),
        (("--kv-link", "pcie5_x16"), "kv_link"),
        (("--prefill-replicas", "1", "--decode-replicas", "1", "--kv-link", "x"), "link"),
        (("--prefill-replicas", "1", "--decode-replicas", "1", "--replicas", "2"), "replicas"),
        (("--prefill-replicas", "1", "--decode-replicas", "1", "--outage", "0@1s-2s"), "outages"),
        (
            ("--prefill-replicas", "1", "--decode-replicas", "1,kv_cache_dtype=fp8"),
            "kv_cache_dtype",
        ),
        (("--concurrency", "8", "--outage", "0@1s-2s"), "outages"),
    ],
)
def test_fleets_that_make_no_sense_are_named(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, _, err = asked(capsys, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("router", ["round_robin", "least_requests"])
def test_who_stops_has_what_has_ended(router: str) -> None:
    trace = Trace.from_traffic(CHAT)
    fleet = [Replica(LinearLaw(), SERVER)] * 2
    whole = simulate_fleet(fleet, trace, router=router)

    def stop(ended: int, _total: int) -> None:
        if ended > 200:
            raise Stopped

    seen = simulate_fleet(fleet, trace, router=router, progress=stop)
    assert seen.served is not None
    assert 200 < len(seen.isl) == len(seen.served) < 600
    np.testing.assert_array_equal(seen.finish_s, whole.finish_s[seen.served])
    with pytest.raises(FitcalcError):
        Servers(0)


def test_the_smallest_pools_keep_the_promise_and_smaller_ones_do_not() -> None:
    load, slo = Traffic(qps=60, isl=2000, osl=100, num_requests=600), Slo(ttft_ms=300, itl_ms=12)
    found = fitcalc.smallest_pools("llama-3.1-8b", "h100", None, load, slo, most=6)
    assert isinstance(found, Pools)
    assert isinstance(found.prefill, int)
    assert isinstance(found.decode, int)
    assert min(found.prefill, found.decode) > 1

    def keeps(prefill: int, decode: int) -> bool:
        pools = Pools(prefill, decode)
        seen = fitcalc.simulate(
            "llama-3.1-8b", "h100", None, load, pools=pools, slo=slo, router="least_requests"
        )
        assert isinstance(seen, Simulation)
        return seen.stable and (seen.slo_met or 0.0) >= 0.95

    assert keeps(found.prefill, found.decode)
    assert not keeps(found.prefill - 1, found.decode)
    assert not keeps(found.prefill, found.decode - 1)
    assert not fitcalc.smallest_pools("llama-3.1-8b", "h100", None, load, slo, most=1)
