"""Classes of traffic on shared servers, and each on its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from fitcalc import Plan, Simulation, Slo, Traffic, plan, simulate
from fitcalc.inputs.mix_file import read_mix
from fitcalc.inputs.mixture import Mix, TrafficClass
from fitcalc.planning.feature import FeatureName
from fitcalc.planning.mixed import tightest, with_pools
from fitcalc.planning.mixed_sizes import engine_of, sized
from fitcalc.report.feature_view import feature_lines
from tests.test_cli import answer

CHAT = TrafficClass(Traffic(qps=30, isl=500, osl=100), name="chat", promise=Slo(ttft_ms=150))
BATCH = TrafficClass(
    Traffic(qps=10, isl=8000, osl=100), name="batch", promise=Slo(ttft_ms=30_000, itl_ms=300)
)
MIX, SLO = Mix((CHAT, BATCH), 1500), Slo(itl_ms=30)
ASK = partial(plan, "llama-3.1-8b", gpus=["h100"])
FILE = """
[[class]]
name = "chat"
qps = 5
isl = 500
osl = 50
itl = 40
[[class]]
name = "batch"
qps = 1
isl = 2000
osl = 50
ttft = "20s"
priority = 1
"""


@pytest.fixture(scope="module")
def made() -> Plan:
    return with_pools(ASK(MIX.merged(), tightest(MIX, SLO)), MIX, SLO, ASK)


def test_a_class_keeps_the_bounds_that_it_does_not_name() -> None:
    assert MIX.promises(SLO) == (Slo(ttft_ms=150, itl_ms=30), Slo(ttft_ms=30_000, itl_ms=300))
    assert (tightest(MIX, SLO).ttft_ms, tightest(MIX, SLO).itl_ms) == (150, 30)
    assert Mix((CHAT,)).promises(None) == (Slo(ttft_ms=150),)


def test_one_traffic_holds_as_many_tokens_as_its_classes() -> None:
    merged = MIX.merged()
    assert merged.qps == 40
    assert merged.isl.mean == pytest.approx((30 * 500 + 10 * 8000) / 40)
    assert merged.isl.at_most() == 8000
    assert Mix((CHAT,)).merged() == CHAT.traffic


def test_both_ways_are_costed(made: Plan) -> None:
    found = made.features[-1]
    assert found.name is FeatureName.SEPARATE_POOLS
    assert found.having is not None
    assert {"chat", "batch"} <= {pool.name for pool in found.pools}
    own = [pool.fleet for pool in found.pools if pool.name != "all classes"]
    assert sum(one.gpu_count for one in own) == found.having.gpu_count
    assert sum(one.usd_per_hour or 0.0 for one in own) == found.having.usd_per_hour
    assert found.recommended == (found.saving is None or found.saving > found.risk)
    assert "A pool for each class" in feature_lines((found,))[0]


def test_shared_servers_keep_every_promise_and_one_fewer_does_not() -> None:
    even = Mix((CHAT, TrafficClass(Traffic(qps=10, isl=900, osl=100), name="batch")), 1500)
    asked = ASK(even.merged(), tightest(even, SLO))
    assert asked.best is not None
    found = sized(asked.question, asked.best, even, SLO)
    assert found is not None
    full = even.scaled(1.0 / (1.0 - asked.question.headroom))
    for servers, holds in ((found.fleet.replicas, True), (found.fleet.replicas - 1, False)):
        seen = simulate(
            "llama-3.1-8b", "h100", engine_of(asked.best), full,
            replicas=servers, slo=SLO, router="least_requests",
        )  # fmt: skip
        assert isinstance(seen, Simulation)
        assert (seen.stable and all((x.slo_met or 0) >= 0.95 for x in seen.classes)) is holds


def test_each_class_is_held_to_its_own_promise() -> None:
    seen = simulate("llama-3.1-8b", "h100", None, MIX, slo=SLO, replicas=4)
    assert isinstance(seen, Simulation)
    chat, batch = seen.classes
    good = sum((one.slo_met or 0.0) * one.num_requests for one in (chat, batch))
    assert seen.slo_met == pytest.approx(good / seen.num_requests)
    everybody = Mix(tuple(TrafficClass(one.traffic, name=one.name) for one in MIX.classes), 1500)
    strict = simulate(
        "llama-3.1-8b", "h100", None, everybody, slo=Slo(ttft_ms=150, itl_ms=30), replicas=4
    )
    assert isinstance(strict, Simulation)
    assert strict.classes[0].slo_met == chat.slo_met
    assert (strict.classes[1].slo_met or 0.0) < (batch.slo_met or 0.0)


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(FILE)
    words = ("plan", "--model", "8b", "--mix", str(path), "--gpu", "h100")
    code, out, _ = answer(capsys, *words, "--num-requests", "400", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["features"][-1]["name"] == "separate_pools"
    assert "--scheduling-policy priority" in found["best"]["vllm_command"]
    code, _, err = answer(capsys, *words, "--isl", "500")
    assert (code, "give it without isl" in err) == (2, True)
    path.write_text(FILE.replace('"20s"', '"soon"'))
    code, _, err = answer(capsys, *words)
    assert (code, "line 13: ttft" in err) == (2, True)


def test_promises_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(FILE)
    chat, batch = read_mix(path).promises(Slo(ttft_ms=1000))
    assert (chat.ttft_ms, chat.itl_ms, batch.ttft_ms, batch.itl_ms) == (1000, 40, 20_000, 100)
