"""The Pareto front: nothing beats what is on it, and all of it keeps the promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import ParetoPoint, Plan, Prediction, Slo, Traffic, plan, predict
from fitcalc.answers import Limit
from fitcalc.inputs.risk import Risk
from fitcalc.planning.pareto import undominated

CHAT = Traffic(qps=20, isl=2000, osl=300)
SLO = Slo(ttft_ms=1000, itl_ms=60)
GPUS = ("h100_sxm", "l40s", "a100_sxm_80gb", "b200_sxm")


@pytest.fixture(scope="module")
def asked() -> Plan:
    return plan("llama-3.1-8b", CHAT, SLO, gpus=GPUS, pareto=True)


def columns(point: ParetoPoint) -> tuple[float, ...]:
    money = math.inf if point.usd_per_hour is None else point.usd_per_hour
    return money, point.gpu_count, point.ttft_ms, point.itl_ms


@given(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 3), min_size=1, max_size=40))
def test_the_front_is_what_comparing_all_pairs_says(rows: list[tuple[float, ...]]) -> None:
    found = undominated(np.array(rows), [0.0, 0.0, 0.0])
    front = {
        row
        for row in rows
        if not any(
            other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows
        )
    }
    assert {rows[i] for i in found} == front
    assert len(found) == len(front)


def test_no_point_beats_another(asked: Plan) -> None:
    assert asked.pareto
    points = [columns(point) for point in asked.pareto]
    assert points == sorted(points)
    for i, one in enumerate(points):
        for other in points[:i] + points[i + 1 :]:
            assert any(b < a for a, b in zip(other, one, strict=True))


def test_the_cheapest_of_the_front_is_the_plan_s_best(asked: Plan) -> None:
    assert asked.pareto
    assert asked.best is not None
    assert asked.pareto[0].usd_per_hour == asked.best.usd_per_hour


def test_no_choice_of_the_plan_beats_the_front(asked: Plan) -> None:
    assert asked.best is not None
    points = [columns(point) for point in asked.pareto or ()]
    for choice in (asked.best, *asked.alternatives):
        money = math.inf if choice.usd_per_hour is None else choice.usd_per_hour
        found = choice.prediction
        mine = (
            money, choice.gpu_count, found.ttft_ms.at(SLO.percentile),
            found.itl_ms.at(SLO.at(Limit.ITL)),
        )  # fmt: skip
        assert any(
            all(a <= b * 1.021 for a, b in zip(point, mine, strict=True)) for point in points
        )


def test_every_point_keeps_the_promise_when_predicted_alone(asked: Plan) -> None:
    for point in asked.pareto or ():
        share = CHAT.share(point.replicas)
        found = predict("llama-3.1-8b", point.gpu, point.engine, share, method="closed_form")
        assert isinstance(found, Prediction)
        assert found.ttft_ms.at(SLO.percentile) == pytest.approx(point.ttft_ms, rel=0.02)
        assert found.ttft_ms.at(SLO.percentile) <= SLO.ttft_ms
        assert found.itl_ms.at(SLO.at(Limit.ITL)) <= SLO.itl_ms


def test_the_front_has_the_spare_servers_of_the_plan() -> None:
    found = plan("llama-3.1-8b", CHAT, SLO, gpus=GPUS, pareto=True, risk=Risk(spare=1))
    assert found.best is not None
    assert found.pareto
    assert found.pareto[0].usd_per_hour == found.best.usd_per_hour
    assert all(point.replicas > 1 for point in found.pareto)


def test_the_front_stays_within_the_limits() -> None:
    found = plan("llama-3.1-8b", CHAT, SLO, gpus=GPUS, pareto=True, max_gpus=8)
    assert found.pareto
    assert all(point.gpu_count <= 8 for point in found.pareto)
    assert plan("llama-3.1-8b", CHAT, SLO, gpus=GPUS).pareto is None
