"""Risk: growth, lost servers, slow predictions, and the busiest minute of a day."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, poisson

from fitcalc import Choice, EngineArgs, FitcalcError, Prediction, Slo, Traffic, plan, predict
from fitcalc.answers import Calibrated
from fitcalc.catalog.accuracy import SLOW_END, slow_factor, spread
from fitcalc.inputs.risk import Risk, parse_growth
from fitcalc.planning.margins import peak_minute
from fitcalc.planning.plan import Verify
from fitcalc.planning.slow_end import deviations

CHAT = Traffic(qps=20, isl=2000, osl=300)
GPUS = ("h100_sxm", "l40s", "a100_sxm_80gb")


def best_of(risk: Risk, traffic: Traffic = CHAT, **limits: object) -> Choice:
    found = plan("llama-3.1-8b", traffic, gpus=GPUS, risk=risk, **limits).best  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("qps", [0.2, 1.0, 20.0, 500.0])
def test_the_busiest_minute_is_poissons(qps: float) -> None:
    """scipy's quantile of the count of a minute, at one of a day's 1,440 minutes."""
    truth = poisson.ppf(1 - 1 / 1440, 60 * qps) / (60 * qps)
    found = peak_minute(Traffic(qps=qps, isl=1, osl=1))
    assert found == pytest.approx(truth, abs=3.0 / (60 * qps))


def test_bursts_raise_the_busiest_minute() -> None:
    calm, bursty = (peak_minute(Traffic(qps=5, isl=1, osl=1, burstiness=b)) for b in (4.0, 0.25))
    assert calm is not None
    assert bursty is not None
    assert bursty - 1 > 3 * (calm - 1)
    assert peak_minute(Traffic(concurrency=5, isl=1, osl=1)) is None


def test_the_slow_end_is_the_table_s_at_90_percent() -> None:
    for moe in (False, True):
        high = spread("tpot", Calibrated.MEASURED, is_moe=moe).high
        asked = slow_factor("tpot", Calibrated.MEASURED, is_moe=moe, deviations=deviations(0.9))
        assert asked == pytest.approx(high, rel=1e-4)
    assert pytest.approx(norm.ppf(0.9), abs=1e-4) == SLOW_END


def test_a_plan_with_confidence_and_no_headroom_is_as_sure_as_asked() -> None:
    for sure in (0.6, 0.8, 0.9, 0.95):
        found = best_of(Risk(confidence=sure), CHAT.replace(qps=400), headroom=0.0)
        assert found.confidence is not None
        assert found.confidence >= sure - 0.05  # levels are tried an eighth of a deviation apart
    crowd = CHAT.replace(qps=400)
    assert (best_of(Risk(), crowd, headroom=0.0).confidence or 0) < 0.6


def test_a_lost_server_is_survived() -> None:
    """The rest carry the whole load, asked anew."""
    found = best_of(Risk(spare=1))
    engine = found.engine
    args = EngineArgs(
        tensor_parallel_size=engine.tensor_parallel_size,
        quantization=engine.weight_format,
        kv_cache_dtype=engine.kv_cache_dtype,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
    )
    share = CHAT.replace(qps=20 / (found.replicas - 1))
    again = predict("llama-3.1-8b", found.gpu, args, share, method="closed_form")
    assert isinstance(again, Prediction)
    assert again.ttft_ms.p95 <= Slo().ttft_ms
    assert again.ttft_ms.p95 == pytest.approx(found.prediction.ttft_ms.p95, rel=1e-6)


def test_the_bill_is_spread_over_all_the_tokens() -> None:
    """A spare server costs, and brings no tokens: $/Mtok is the bill over the asked rate."""
    for spare in (0, 2):
        found = best_of(Risk(spare=spare))
        tokens = 20 * 3600 * 2300 / 1e6
        assert found.usd_per_hour is not None
        assert found.usd_per_million_tokens == pytest.approx(found.usd_per_hour / tokens)


@settings(max_examples=10)
@given(
    st.floats(0.5, 60),
    st.integers(0, 3),
    st.floats(0.5, 0.9),
    st.floats(0, 0.3),
    st.floats(0, 12),
)
def test_more_risk_never_costs_less(
    qps: float, spare: int, sure: float, growth: float, horizon: float
) -> None:
    traffic = CHAT.replace(qps=qps)
    least = Risk(spare=spare, confidence=sure, growth=growth, horizon=horizon if growth else 0)
    base = best_of(least, traffic).usd_per_hour or math.inf
    for more in (
        {"spare": spare + 1},
        {"confidence": min(0.99, sure + 0.08)},
        {"growth": growth + 0.1},
        {"growth": growth or 0.1, "horizon": horizon + 2},
    ):
        assert (best_of(least.replace(**more), traffic).usd_per_hour or 0) >= base * (1 - 1e-9)


def test_the_reasons_sum_to_the_servers() -> None:
    risk = Risk(spare=2, confidence=0.9, growth=0.2, horizon=6)
    for verify in (Verify.NO, Verify.YES):
        found = plan("llama-3.1-8b", CHAT, gpus=["h100"], risk=risk, verify=verify, top=1)
        assert found.best is not None
        assert found.margins is not None
        rows = {row.reason: row.replicas for row in found.margins.reasons}
        assert sum(rows.values()) == found.best.replicas
        assert rows["spare"] == 2
        money = [row.usd_per_hour or 0.0 for row in found.margins.reasons]
        assert sum(money) == pytest.approx(found.best.usd_per_hour)


def test_growth_says_when_a_size_runs_out() -> None:
    """At 10 % a month a load doubles in 7.27 months."""
    found = plan("llama-3.1-8b", CHAT, gpus=["h100"], risk=Risk(growth=0.1, horizon=7.27))
    assert found.margins is not None
    assert found.best is not None
    assert found.margins.growth_factor == pytest.approx(2.0, rel=1e-3)
    lasts, today = found.margins.lasts_months, found.margins.today_lasts_months
    assert lasts is not None
    assert today is not None
    assert 0 < today < lasts
    assert lasts > 7.27


def test_the_busiest_minute_can_be_the_headroom() -> None:
    few, many = (
        plan("llama-3.1-8b", CHAT.replace(qps=q), gpus=["l4"], risk=Risk(peak_minute=True))
        for q in (2, 200)
    )
    assert few.question.headroom > many.question.headroom > 0
    assert few.question.headroom == pytest.approx(
        1 - 120 / poisson.ppf(1 - 1 / 1440, 120), abs=0.01
    )


def test_growth_is_read_as_people_write_it() -> None:
    assert parse_growth("20%/month") == pytest.approx(0.2)
    assert parse_growth("0.2 per month") == pytest.approx(0.2)
    assert (1 + parse_growth("50% a year")) ** 12 == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("growth", {"growth": float("nan")}),
        ("growth", {"growth": -0.1}),
        ("horizon", {"horizon": 3}),
        ("spare", {"spare": -1}),
        ("confidence", {"confidence": 1.0}),
        ("risk", {"risk": 1}),
    ],
)
def test_risks_that_make_no_sense_are_refused(words: str, call: dict[str, object]) -> None:
    with pytest.raises(FitcalcError, match=words):
        Risk(**call)


@pytest.mark.parametrize("load", [{"qps": 20}, {"concurrency": 20}])
def test_a_growth_that_overflows_is_refused(load: dict[str, float]) -> None:
    traffic = Traffic(isl=100, osl=100, **load)
    with pytest.raises(FitcalcError, match="growth"):
        plan("llama-3.1-8b", traffic, risk=Risk(growth=5, horizon=100))


def test_growth_without_a_span_is_refused() -> None:
    for text in ("20%", "twice", "-5%/month", "1e400/month"):
        with pytest.raises(FitcalcError, match="growth"):
            parse_growth(text)
