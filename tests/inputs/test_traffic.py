"""Lengths, traffic and service levels: moments, samples, and mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths, as_lengths
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic

LAWS = [
    Lengths.fixed(37),
    Lengths.uniform(819, 1024),
    Lengths.uniform(0, 9),
    Lengths.uniform(1.2, 1.8),
    Lengths.lognormal(575, 0.8),
    Lengths.lognormal(200, 0.0),
    Lengths.histogram((5, 1, 300), (2, 1, 0.5)),
]


@pytest.mark.parametrize("law", LAWS)
def test_samples_are_whole_tokens_of_at_least_one(law: Lengths) -> None:
    drawn = law.sample(np.random.default_rng(0), 2_000)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 1


@pytest.mark.parametrize("law", [law for law in LAWS if law.low not in (0.0, 1.2) or law.average])
def test_samples_have_the_stated_moments(law: Lengths) -> None:
    drawn = law.sample(np.random.default_rng(0), 100_000).astype(float)
    assert drawn.mean() == pytest.approx(law.mean, rel=0.02)
    assert (drawn**2).mean() == pytest.approx(law.second_moment, rel=0.06)
    middle = law.quantiles((np.arange(4_000) + 0.5) / 4_000)
    assert middle.mean() == pytest.approx(law.mean, rel=0.01)


def test_a_lognormal_has_its_textbook_median() -> None:
    law = Lengths.lognormal(100, 1.0)
    assert law.quantiles(np.array([0.5]))[0] == pytest.approx(100 / math.sqrt(2), rel=1e-4)
    # standard normal quantiles 1.2816 and 2.3263 (any table)
    sigma = math.sqrt(math.log(2))
    for share, z in ((0.9, 1.281552), (0.99, 2.326348)):
        expected = 100 / math.sqrt(2) * math.exp(sigma * z)
        assert law.quantiles(np.array([share]))[0] == pytest.approx(expected, rel=1e-3)


def test_uniform_counts_both_ends() -> None:
    die = Lengths.uniform(1, 6)
    assert die.mean == 3.5
    assert die.second_moment == pytest.approx(91 / 6)
    assert set(die.sample(np.random.default_rng(0), 500)) == {1, 2, 3, 4, 5, 6}


def test_a_running_request_is_longer_than_the_mean() -> None:
    assert Lengths.fixed(100).length_biased == 50
    assert Lengths.lognormal(100, 1.0).length_biased == pytest.approx(100)


@pytest.mark.parametrize("law", LAWS)
def test_at_most_is_rarely_passed(law: Lengths) -> None:
    drawn = law.sample(np.random.default_rng(0), 50_000)
    assert (drawn > law.at_most()).mean() <= 0.0015


@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(0.01, 10)), min_size=1, max_size=8),
    st.integers(0, 99),
)
def test_a_histogram_draws_only_its_values(pairs: list[tuple[int, float]], seed: int) -> None:
    values, weights = zip(*pairs, strict=True)
    law = Lengths.histogram(values, weights)
    assert set(law.sample(np.random.default_rng(seed), 50)) <= set(values)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lengths.fixed(0),
        lambda: Lengths.fixed(math.nan),
        lambda: Lengths.fixed(-5),
        lambda: Lengths.uniform(9, 3),
        lambda: Lengths.lognormal(100, math.inf),
        lambda: Lengths.histogram((1, 2), (1,)),
        lambda: Lengths.histogram((), ()),
        lambda: Lengths.histogram((1, 2), (0, 0)),
        lambda: Traffic(isl=5, osl=5),
        lambda: Traffic(qps=1, concurrency=2, isl=5, osl=5),
        lambda: Traffic(qps=0, isl=5, osl=5),
        lambda: Traffic(qps=math.inf, isl=5, osl=5),
        lambda: Traffic(qps=1, isl=True, osl=5),
        lambda: Traffic(qps=1, isl="many", osl=5),
        lambda: Traffic(qps=1, isl=5, osl=5, burstiness=0),
        lambda: Traffic(qps=1, isl=5, osl=5, prefix_tokens=9),
        lambda: Traffic(qps=1, isl=5, osl=5, prefix_hit=1.0),
        lambda: Traffic(concurrency=2.5, isl=5, osl=5),
        lambda: Traffic(qps=1, isl=5, osl=5, rate=3),  # type: ignore[call-arg]
        lambda: Traffic(qps=1, isl=5),  # type: ignore[call-arg]
        lambda: Slo(ttft_ms=0),
        lambda: Slo(percentile=100),
        lambda: Slo(itl_ms=math.nan),
    ],
)
def test_mistakes_are_one_sentence(make) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(InvalidValue) as error:
        make()
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_traffic_reads_numbers_as_fixed_lengths() -> None:
    traffic = Traffic(qps=20, isl=575, osl=as_lengths(248), prefix_tokens=115)
    assert traffic.isl == Lengths.fixed(575)
    assert traffic.context == 823
    assert traffic.longest == 823
    assert traffic.hit_share == pytest.approx(0.2)
