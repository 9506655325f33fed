"""Servers over the day: what is paid, what is idle, when scaling helps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcalc import FitcalcError, Plan, Traffic, plan
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.rates import Rates
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.scaling import Scaling
from fitcalc.planning.cost import Bought
from fitcalc.planning.daily import ColdStart, Day
from fitcalc.planning.day import day
from fitcalc.planning.over_day import late_share, paid, servers_for, shortest_lead_s
from tests.samples import BEST

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[3] / "shared")) / "traces"
HOUR = 3600.0
STEP = Rates(np.array([0.0, HOUR]), np.array([1.0, 4.0]), 2 * HOUR)


def eight_at_a_time(servers: int) -> Bought:
    """One GPU a server, nodes of 8 for $10 an hour."""
    nodes = -(-servers // 8)
    return Bought(10.0 * nodes, 8 * nodes)


def served(
    rates: Rates,
    replicas: int,
    *,
    start_s: float = 0.0,
    spare: int = 0,
    scaling: Scaling | None = None,
    whole: bool = False,
    owned: bool = False,
) -> Day:
    engine = BEST.engine.model_copy(update={"tensor_parallel_size": 1})
    choice = BEST.model_copy(update={"replicas": replicas, "engine": engine})
    return day(
        choice,
        rates,
        scaling or Scaling(hold_s=0),
        start=ColdStart(seconds=start_s),
        price=eight_at_a_time if whole else lambda n: Bought(float(n), n),
        spare=spare,
        always_paid=owned,
    )


def test_two_hours_by_hand() -> None:
    """1 req/s then 4 on 8 servers of $1 an hour: 2 servers, then 8."""
    found = served(STEP, 8)
    assert [h.replicas for h in found.hours] == [2, 8]
    assert found.scaled.usd == pytest.approx(10.0)
    assert found.static.usd == pytest.approx(16.0)
    assert found.saving == pytest.approx(6 / 16)
    assert found.requests == pytest.approx(5 * HOUR)
    # 0.5 req/s each at the peak, 20 % free: 0.625 within the promise, 2.5 req/s in the mean.
    assert found.target_per_s == pytest.approx(0.5)
    assert found.static.idle_share == pytest.approx(1 - 2.5 / (8 * 0.625))
    assert found.scaled.idle_share == pytest.approx(1 - 5 / (10 * 0.625))


def test_a_cold_start_is_paid_ahead_and_a_hold_after() -> None:
    ahead = served(STEP, 8, start_s=600.0)
    assert ahead.scaled.server_hours == pytest.approx(10 + 6 * 600 / HOUR)
    held = served(STEP, 8, scaling=Scaling(hold_s=900))
    assert held.scaled.server_hours == pytest.approx(10 + 6 * 900 / HOUR)
    assert served(STEP, 8, start_s=3 * HOUR).scaled.server_hours == pytest.approx(16)


def test_one_server_and_whole_nodes_are_said_not_to_scale() -> None:
    assert "one must run" in served(STEP, 1).verdict
    nodes = served(STEP, 8, whole=True)
    assert nodes.saving == pytest.approx(0.0)
    assert "whole" in nodes.verdict
    assert "all the time" in served(STEP, 8, scaling=Scaling(min_replicas=8)).verdict


def test_owned_servers_cost_the_same_at_night() -> None:
    found = served(STEP, 8, owned=True)
    assert found.saving == pytest.approx(0.0)
    assert "paid for at all hours" in found.verdict
    assert [h.replicas for h in found.hours] == [2, 8]


def test_a_slow_start_needs_a_schedule() -> None:
    """Middle to middle is an hour, +3 req/s; 2 servers carry 1.25: the rise outgrows them in 5 min.

    Ordered only then, a server that takes 30 minutes comes too late.
    """
    slow, fast = served(STEP, 8, start_s=1800.0), served(STEP, 8, start_s=200.0)
    assert slow.shortest_lead_s == pytest.approx(HOUR / 12)
    assert "ahead" in slow.verdict
    assert slow.late_share > 0.1
    assert "after it is seen" in fast.verdict
    assert fast.late_share < slow.late_share


def test_a_steady_rate_never_outgrows_its_servers() -> None:
    flat = Rates(np.array([0.0]), np.array([3.0]), 24 * HOUR)
    assert shortest_lead_s(flat, np.array([4.0]), 1.0) is None
    assert late_share(flat, np.array([4.0]), 0.75, 1.0, 600.0) == 0.0
    assert served(flat, 4).saving == pytest.approx(0.0)


def test_too_few_servers_are_said() -> None:
    found = served(STEP, 8, scaling=Scaling(max_replicas=4, hold_s=0))
    assert found.over_share == pytest.approx(4 / 5)
    assert found.max_replicas == 4
    with pytest.raises(FitcalcError, match="max_replicas"):
        served(STEP, 8, spare=3, scaling=Scaling(max_replicas=3))
    with pytest.raises(FitcalcError, match="min_replicas"):
        served(STEP, 8, scaling=Scaling(min_replicas=9))


PROFILES = st.lists(st.floats(0.0, 50.0), min_size=1, max_size=30).filter(lambda r: max(r) > 0.1)


@settings(max_examples=100)
@given(
    rates=PROFILES,
    width=st.floats(60.0, 2 * HOUR),
    carrying=st.integers(1, 60),
    spare=st.integers(0, 3),
    start_s=st.floats(0, 2 * HOUR),
    whole=st.booleans(),
)
def test_laws(
    rates: list[float], width: float, carrying: int, spare: int, start_s: float, *, whole: bool
) -> None:
    """Scaled never costs more than static; hours sum to the day; nobody carries more than ever."""
    shape = Rates(
        np.arange(len(rates), dtype=np.float64) * width, np.array(rates), len(rates) * width
    )
    found = served(shape, carrying + spare, start_s=start_s, spare=spare, whole=whole)
    assert found.scaled.usd is not None
    assert found.static.usd is not None
    assert found.scaled.usd <= found.static.usd * (1 + 1e-9)
    assert found.scaled.idle_share <= found.static.idle_share + 1e-9
    assert sum(h.requests for h in found.hours) == pytest.approx(sum(rates) * width)
    assert sum(h.server_hours for h in found.hours) == pytest.approx(found.scaled.server_hours)
    assert sum(h.usd or 0 for h in found.hours) == pytest.approx(found.scaled.usd)
    servers = servers_for(shape, carrying + spare, spare) - spare
    assert (shape.per_s / servers <= max(rates) / carrying * (1 + 1e-6)).all()
    spans = paid(shape, servers, start_s, 0.0)
    assert spans.edges_s[-1] == pytest.approx(shape.end_s)
    later = served(shape, carrying + spare, start_s=start_s * 1.5, spare=spare, whole=whole)
    assert (later.scaled.usd or 0) >= found.scaled.usd * (1 - 1e-9)


@pytest.fixture(scope="module")
def office() -> Plan:
    return plan("llama-3.1-8b", Traffic(qps=100, isl=2000, osl=300), gpus=["l40s"], rates="day")


def test_a_plan_is_for_the_peak_of_its_day(office: Plan) -> None:
    steady = plan("llama-3.1-8b", Traffic(qps=100 * Rates.day(1).peak_to_mean, isl=2000, osl=300),
                  gpus=["l40s"])  # fmt: skip
    assert office.best is not None
    assert steady.best is not None
    assert office.best.replicas == steady.best.replicas
    assert office.day is not None
    assert office.day.mean_per_s == pytest.approx(100.0)
    assert len(office.day.hours) == 24
    assert sum(h.requests for h in office.day.hours) == pytest.approx(100 * 86_400)
    assert office.day.hours[15].replicas == office.best.replicas
    assert 0.2 < (office.day.saving or 0) < 0.5


def test_a_plan_s_tokens_cost_what_the_day_s_do(office: Plan) -> None:
    assert office.best is not None
    assert office.day is not None
    found = office.day.static
    assert office.best.usd_per_million_tokens == pytest.approx(found.usd_per_million_tokens)
    assert office.best.idle_share == pytest.approx(found.idle_share)
    assert found.usd_per_million_tokens == pytest.approx((found.usd or 0) / (100 * 0.0864 * 2300))


def test_a_cold_start_is_a_sum_of_figures(office: Plan) -> None:
    """8B in fp8 read from 16 bits: 16 GB at 1.8 GB/s; 32 layers at 2.84 s."""
    assert office.day is not None
    start = office.day.cold_start
    assert start.estimated
    assert start.weights_s == pytest.approx(16.06e9 / 1.8e9, rel=0.15)
    assert start.engine_s == pytest.approx(90.84, rel=0.01)
    assert start.seconds == pytest.approx(
        start.node_s + start.boot_s + start.weights_s + start.engine_s
    )


def test_growth_and_spares_reach_the_day() -> None:
    traffic = Traffic(qps=50, isl=2000, osl=300)
    risk = Risk(spare=1, growth=0.1, horizon=5)
    found = plan("llama-3.1-8b", traffic, gpus=["l40s"], rates="week", risk=risk).day
    assert found is not None
    assert len(found.hours) == 168
    assert found.mean_per_s == pytest.approx(50 * 1.1**5)
    assert min(h.replicas for h in found.hours) >= 2


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published traces are not here")
def test_a_published_fortnight_scales() -> None:
    """ServeGen's m-large: 14 days of 10-minute windows, 196 req/s in the mean, 583 at the peak."""
    rates = Rates.read(SHARED / "servegen_m-large_rate.csv.gz")
    traffic = Traffic(qps=rates.mean_per_s, isl=900, osl=150)
    found = plan("llama-3.1-8b", traffic, gpus=["l40s"], rates=rates).day
    assert found is not None
    assert len(found.hours) == 14 * 24
    assert found.mean_per_s == pytest.approx(196, rel=0.01)
    assert found.peak_per_s == pytest.approx(583, rel=0.01)
    assert (found.saving or 0) > 0.4


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("rates", {"rates": "month"}),
        ("rates", {"rates": "day", "traffic": Traffic(concurrency=5, isl=10, osl=10)}),
        ("rates", {"rates": Rates(np.zeros(1), np.ones(1), 1e9)}),
        ("mean_share", {"rates": "day", "buying": Buying(mean_share=0.5)}),
    ],
)
def test_days_that_make_no_sense_are_refused(words: str, call: dict[str, object]) -> None:
    asked = {"traffic": Traffic(qps=5, isl=100, osl=100), "gpus": ["l40s"], **call}
    with pytest.raises(FitcalcError, match=words):
        plan("llama-3.1-8b", **asked)  # type: ignore[arg-type]


def test_limits_that_make_no_sense_are_refused() -> None:
    for name, value in (("max_replicas", 0), ("cold_start_s", -1.0), ("hold_s", float("nan"))):
        with pytest.raises(FitcalcError, match=name):
            Scaling(**{name: value})
