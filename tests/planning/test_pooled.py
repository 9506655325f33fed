"""Pools of prefill and decode servers beside servers that do both."""

from __future__ import annotations

import pytest

from fitcalc import EngineArgs, FitcalcError, Simulation, Slo, Traffic, plan, simulate
from fitcalc.inputs.fleet import Pools
from fitcalc.planning.feature import Feature, FeatureName
from fitcalc.planning.pool_sizes import smallest_fleet
from fitcalc.planning.pooled import servers_of
from fitcalc.report.feature_view import feature_lines

LONG = Traffic(qps=8, isl=4000, osl=200, num_requests=400)
SLO = Slo(ttft_ms=1500, itl_ms=30)


@pytest.fixture(scope="module")
def found() -> Feature:
    made = plan("llama-3.1-8b", LONG, SLO, gpus=["h100"], disaggregated=True)
    assert len(made.features) == 1
    return made.features[0]


def test_both_fleets_are_costed_and_judged(found: Feature) -> None:
    assert found.name is FeatureName.DISAGGREGATED
    assert found.having is not None
    assert found.without is not None
    assert found.having.replicas >= 2
    for fleet in (found.having, found.without):
        assert fleet.ttft_ms <= SLO.ttft_ms
        assert fleet.itl_ms <= SLO.itl_ms
    assert found.recommended == ((found.saving or 0.0) > found.risk)
    assert "Prefill apart" in feature_lines((found,))[0]


def test_one_server_fewer_breaks_the_promise() -> None:
    engine, crowd = EngineArgs(max_model_len=8192), LONG.replace(qps=30)
    fewest = smallest_fleet("llama-3.1-8b", "h100", engine, crowd, SLO, most=40)
    assert isinstance(fewest, int)
    assert fewest > 1
    for servers, kept in ((fewest, True), (fewest - 1, False)):
        seen = simulate(
            "llama-3.1-8b", "h100", engine, crowd,
            replicas=servers, slo=SLO, router="least_requests",
        )  # fmt: skip
        assert isinstance(seen, Simulation)
        assert (seen.stable and (seen.slo_met or 0.0) >= SLO.percentile / 100) is kept


def test_servers_of_both_pools_count() -> None:
    assert servers_of(Pools(3, 5)) == 8


def test_clients_in_a_loop_have_no_pools() -> None:
    with pytest.raises(FitcalcError, match="open loop"):
        plan(
            "llama-3.1-8b", Traffic(concurrency=8, isl=500, osl=100), gpus=["h100"],
            disaggregated=True,
        )  # fmt: skip
