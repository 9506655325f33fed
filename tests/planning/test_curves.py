"""Curves of one server: counts anyone can make, and agreement with the single prediction."""

from __future__ import annotations

import numpy as np
import pytest

from fitcalc import EngineArgs, Slo, Traffic, predict
from fitcalc.answers import MemoryLedger, Prediction, Rejection
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.errors import InvalidValue
from fitcalc.physics.work import step_work
from fitcalc.planning.curves import rate_curve, roofline, step_curve
from fitcalc.planning.server import closed_form, start, step_of
from fitcalc.planning.setup import Setup

CHAT = Traffic(qps=4.0, isl=2048, osl=256)
SLO = Slo(ttft_ms=500.0, itl_ms=40.0)


ENGINE = EngineArgs(max_model_len=8192)


def started(
    model: str = "llama-3.1-8b", gpu: str = "h100", engine: EngineArgs = ENGINE
) -> tuple[Setup, MemoryLedger]:
    found = start(model, gpu, engine)
    assert not isinstance(found, Rejection), found.reason
    return found


def test_a_token_costs_two_flops_a_weight_and_a_step_reads_each_weight_once() -> None:
    """8.03 G parameters less the embedding table, which only looks up; 131,072 B of KV a token."""
    weights = 8_030_261_248 - 128_256 * 4096
    step = step_of(started()[0])
    work = step_work(step, 1.0, 1000.0)
    attention = 32 * 4 * 32 * 128 * 1000
    assert float(work.flops) == pytest.approx(2 * weights + attention, rel=1e-3)
    assert float(work.moved) == pytest.approx(2 * weights + 131_072 * 1000, rel=0.01)
    more = step_work(step, 64.0, 64_000.0)
    assert float(more.flops) == pytest.approx(64 * float(work.flops))


def test_a_sparse_model_computes_its_active_weights_only() -> None:
    """Qwen3-30B-A3B: 3.3 G of 30.5 G parameters a token, its embedding table of 0.31 G aside."""
    step = step_of(started("qwen3-30b-a3b")[0])
    assert float(step_work(step, 1.0, 1.0).flops) == pytest.approx(2 * (3.35e9 - 0.31e9), rel=0.02)


@pytest.mark.parametrize("split", ["pipeline_parallel_size", "tensor_parallel_size"])
def test_two_gpus_share_the_work(split: str) -> None:
    engines = (ENGINE, ENGINE.replace(**{split: 2}))
    one, two = (step_work(step_of(started(engine=e)[0]), 8.0, 8000.0) for e in engines)
    assert float(two.flops) == pytest.approx(float(one.flops) / 2, rel=0.01)


@pytest.mark.parametrize("gpu", gpu_ids())
def test_no_step_is_above_the_roof(gpu: str) -> None:
    found = start("qwen3-8b", gpu, EngineArgs(max_model_len=4096, tensor_parallel_size=1))
    if isinstance(found, Rejection):
        pytest.skip(found.reason)
    roof = roofline(*found, Traffic(qps=1.0, isl=2048, osl=256))
    assert np.all(roof.flops <= np.minimum(roof.peak_flops, roof.intensity * roof.bandwidth))
    assert len(roof.names) == len(roof.flops)


def test_the_parts_of_a_gap_sum_to_it_and_it_grows() -> None:
    curve = step_curve(*started(), CHAT)
    assert sum(curve.parts_ms.values()) == pytest.approx(curve.mean_ms)
    assert np.all(np.diff(curve.alone_ms) > 0)
    assert np.all((curve.alone_ms < curve.mean_ms) & (curve.mean_ms < curve.chunk_ms))
    assert np.all((curve.interval_ms[0] < curve.mean_ms) & (curve.mean_ms < curve.interval_ms[1]))


@pytest.mark.parametrize("ranks", [1, 2])
def test_each_rate_is_what_its_prediction_says(ranks: int) -> None:
    setup, ledger = started(engine=ENGINE.replace(data_parallel_size=ranks))
    curve = rate_curve(setup, ledger, CHAT, SLO)
    for point in curve.points[::13]:
        one = closed_form(setup, ledger, CHAT.replace(qps=point.qps))
        assert isinstance(one, Prediction)
        assert one.ttft_ms.p95 == pytest.approx(point.ttft.p95)
        assert one.itl_ms.p99 == pytest.approx(point.itl.p99)
        assert one.interval.ttft_ms == pytest.approx(point.interval_ms)
        assert one.steady_batch == pytest.approx(point.batch)


def test_the_knee_keeps_the_promise_and_the_capacity_ends_it() -> None:
    curve = rate_curve(*started(), CHAT, SLO)
    kept = [p.ttft.p95 <= SLO.ttft_ms and p.itl.p95 <= SLO.itl_ms for p in curve.points]
    near = curve.capacity / 2**7
    for point, keeps in zip(curve.points, kept, strict=True):
        if abs(point.qps - curve.goodput) > near:
            assert keeps == (point.qps < curve.goodput)
    assert not predict("llama-3.1-8b", "h100", ENGINE, CHAT.replace(qps=1.01 * curve.capacity))


def test_what_has_no_curve_is_said() -> None:
    with pytest.raises(InvalidValue, match="osl"):
        step_curve(*started(), CHAT.replace(osl=1))
    with pytest.raises(InvalidValue, match="concurrency"):
        rate_curve(*started(), Traffic(concurrency=8, isl=2048, osl=256), SLO)
