"""Sensitivity: each lever moves the cost the way it must, and moves what a plan would move."""

from __future__ import annotations

import math

import pytest

from fitcalc import FitcalcError, Lengths, Plan, Sensitivity, Slo, Traffic, plan
from fitcalc.inputs.risk import Risk
from fitcalc.planning.sensitivity import scaled, times
from fitcalc.planning.why import Case, Lever, Outcome, Swing

CHAT = Traffic(qps=60, isl=2000, osl=300)
SLO = Slo(ttft_ms=1000, itl_ms=60)
GPUS = ("h100_sxm", "l40s", "a100_sxm_80gb")
MODEL = "llama-3.1-8b"


def asked_of(traffic: Traffic = CHAT, **limits: object) -> Plan:
    return plan(MODEL, traffic, SLO, gpus=GPUS, sensitivity=0.2, **limits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    made = asked_of().sensitivity
    assert made is not None
    return made


def swing(found: Sensitivity, lever: Lever) -> Swing:
    return next(one for one in found.swings if one.lever is lever)


def cost(one: Outcome | None) -> float:
    assert one is not None
    assert one.usd_per_hour is not None
    return one.usd_per_hour


def test_every_lever_is_moved_and_the_widest_comes_first(found: Sensitivity) -> None:
    assert {one.lever for one in found.swings} == set(Lever)
    base = cost(found.base)
    moves = [max(abs(cost(end.best) - base) for end in (s.low, s.high)) for s in found.swings]
    assert moves == sorted(moves, reverse=True)


def test_the_base_is_the_plan_s_own_choice() -> None:
    made = asked_of()
    assert made.best is not None
    assert made.sensitivity is not None
    assert made.sensitivity.base.usd_per_hour == made.best.usd_per_hour
    assert made.sensitivity.base.gpu == made.best.gpu


@pytest.mark.parametrize(
    ("lever", "dearer"), [(Lever.RATE, 1), (Lever.EFFICIENCY, -1), (Lever.PRICE, 1)]
)
def test_a_lever_moves_the_cost_one_way(found: Sensitivity, lever: Lever, dearer: int) -> None:
    moved = swing(found, lever)
    ends = (moved.low, moved.high)[::dearer]
    assert cost(ends[0].best) <= cost(found.base) <= cost(ends[1].best)
    assert cost(ends[0].best) < cost(ends[1].best)


@pytest.mark.parametrize(
    ("lever", "traffic"),
    [
        (Lever.RATE, Traffic(qps=72, isl=2000, osl=300)),
        (Lever.CONTEXT, Traffic(qps=60, isl=2400, osl=300)),
        (Lever.OUTPUT, Traffic(qps=60, isl=2000, osl=360)),
    ],
)
def test_a_moved_traffic_costs_what_its_own_plan_costs(
    found: Sensitivity, lever: Lever, traffic: Traffic
) -> None:
    own = plan(MODEL, traffic, SLO, gpus=GPUS).best
    assert own is not None
    assert cost(swing(found, lever).high.best) == own.usd_per_hour


def test_the_cheapest_never_costs_more_than_the_same_servers(found: Sensitivity) -> None:
    for one in found.swings:
        for case in (one.low, one.high):
            assert case.same is None or cost(case.best) <= cost(case.same)
            assert case.stands == (case.same == case.best)


def test_a_price_alone_moves_the_same_servers_by_its_share(found: Sensitivity) -> None:
    moved = swing(found, Lever.PRICE)
    assert cost(moved.high.same) == pytest.approx(1.2 * cost(found.base))
    assert cost(moved.low.best) == pytest.approx(0.8 * cost(found.base))


def test_a_budget_that_a_fifth_more_breaks_is_said() -> None:
    best = plan(MODEL, CHAT, SLO, gpus=GPUS).best
    assert best is not None
    assert best.usd_per_hour is not None
    made = asked_of(budget_usd_per_hour=best.usd_per_hour).sensitivity
    assert made is not None
    price = swing(made, Lever.PRICE)
    assert price.high == Case(same=None, best=None, stands=False) or cost(price.high.best) <= (
        best.usd_per_hour
    )
    assert price.high.same is None


def test_lost_servers_are_counted_in_every_case() -> None:
    plain, spared = (asked_of(risk=Risk(spare=n)).sensitivity for n in (0, 1))
    assert plain is not None
    assert spared is not None
    assert spared.base.replicas == plain.base.replicas + 1


def test_clients_are_moved_whole_and_answers_keep_a_token() -> None:
    loop = Traffic(concurrency=1, isl=100, osl=1)
    assert scaled(loop, Lever.RATE, 0.8).concurrency == 1
    assert scaled(loop, Lever.OUTPUT, 0.5).osl.mean == 1
    shared = Traffic(qps=1, isl=100, osl=1, prefix_tokens=95)
    assert scaled(shared, Lever.CONTEXT, 0.8).prefix_tokens == 80


@pytest.mark.parametrize(
    "lengths",
    [
        Lengths.fixed(100),
        Lengths.uniform(50, 150),
        Lengths.lognormal(100, 0.5),
        Lengths.histogram((50.0, 150.0), (1.0, 1.0)),
    ],
)
def test_lengths_of_every_family_are_scaled(lengths: Lengths) -> None:
    assert times(lengths, 1.2).mean == pytest.approx(120)
    assert times(lengths, 1.2).second_moment == pytest.approx(
        1.44 * lengths.second_moment, rel=0.01
    )


def test_a_context_past_the_model_s_serves_no_more() -> None:
    full = Traffic(qps=0.01, isl=125_000, osl=3000)
    made = plan(MODEL, full, Slo(ttft_ms=60_000), gpus=["h100"], sensitivity=0.2).sensitivity
    assert made is not None
    assert swing(made, Lever.CONTEXT).high.best is None
    assert swing(made, Lever.CONTEXT).low.best is not None


@pytest.mark.parametrize("share", [0.0, -0.2, 1.0, math.nan, math.inf])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(FitcalcError, match="sensitivity"):
        plan(MODEL, CHAT, SLO, gpus=GPUS, sensitivity=share)
