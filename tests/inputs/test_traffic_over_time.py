"""Rates over time, histograms of lengths, and mixtures of classes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from fitcalc.errors import InvalidValue
from fitcalc.inputs.mixture import Mix, TrafficClass
from fitcalc.inputs.rates import Rates, read_lengths
from fitcalc.inputs.traffic import Traffic

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[3] / "shared")) / "traces"


def test_counts_follow_the_rates() -> None:
    rates = Rates(np.array([0.0, 100.0, 200.0]), np.array([5.0, 0.0, 20.0]), 300.0)
    times = rates.arrivals_s(np.random.default_rng(0), 12_500)
    inside = np.histogram(times % 300.0, [0, 100, 200, 300])[0]
    assert inside[1] == 0
    assert inside[0] / inside[2] == pytest.approx(0.25, rel=0.05)
    assert times[-1] == pytest.approx(5 * 300.0, rel=0.03)
    assert (np.diff(times) >= 0).all()
    gaps = np.diff(times[(times % 300.0) < 100.0])
    short = gaps[gaps < 20]
    assert short.std() / short.mean() == pytest.approx(1.0, abs=0.05)  # Poisson inside a window


def test_burstiness_is_the_gaps_shape() -> None:
    rates = Rates(np.array([0.0]), np.array([10.0]), 50.0)
    gaps = np.diff(rates.arrivals_s(np.random.default_rng(1), 20_000, burstiness=4.0))
    assert gaps.mean() == pytest.approx(0.1, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(0.5, rel=0.05)


def test_a_day_has_its_mean_and_a_night() -> None:
    day = Rates.named("day", 3.0)
    assert day.mean_per_s == pytest.approx(3.0)
    assert day.per_s.max() / day.per_s.min() > 4
    assert day.scaled(6.0).mean_per_s == pytest.approx(6.0)


def test_a_file_of_rates(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv.gz"
    path.write_bytes(gzip.compress(b"time,rate\n10,1\n20,3\n"))
    rates = Rates.read(path)
    assert rates.start_s.tolist() == [0.0, 10.0]
    assert rates.end_s == 20.0
    for text in ("time,rate\n", "time,rate\n0,x\n", "a,b\n1,2\n", "time,rate\n0,-1\n"):
        wrong = tmp_path / "wrong.csv"
        wrong.write_text(text)
        with pytest.raises(InvalidValue, match=r"rates|wrong\.csv"):
            Rates.read(wrong)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(InvalidValue, match="cannot be read"):
        Rates.read(path)


@pytest.mark.parametrize("name", ["deepseek-r1", "m-large", "m-mid", "m-small"])
def test_servegens_files_load(name: str) -> None:
    if not SHARED.exists():
        pytest.skip("no traces beside the checkout")
    rates = Rates.read(SHARED / f"servegen_{name}_rate.csv.gz")
    isl, osl = read_lengths(SHARED / f"servegen_{name}_tokens.csv.gz")
    if name == "deepseek-r1":  # published mean rate and lengths; buckets are read at their top
        assert rates.mean_per_s == pytest.approx(16.0, rel=0.01)
        assert isl.mean == pytest.approx(1268, rel=0.05)
        assert osl.mean == pytest.approx(1527, rel=0.05)
    traffic = Traffic(qps=rates.mean_per_s, isl=isl, osl=osl)
    trace = Mix((TrafficClass(traffic, shape=rates),)).draw(2000, seed=3)
    assert len(trace) == 2000


def test_classes_mix_at_their_rates() -> None:
    chat = TrafficClass(Traffic(qps=9, isl=500, osl=100), priority=1)
    code = TrafficClass(Traffic(qps=1, isl=4000, osl=20))
    trace = Mix((chat, code)).draw(5000, seed=1)
    assert trace.kind is not None
    assert trace.priority is not None
    assert np.mean(trace.kind == 0) == pytest.approx(0.9, abs=0.02)
    assert set(trace.isl[trace.kind == 1].tolist()) == {4000}
    assert set(trace.priority[trace.kind == 0].tolist()) == {1}
    assert trace.qps == pytest.approx(10, rel=0.05)
    with pytest.raises(InvalidValue, match="classes"):
        Mix(())
    with pytest.raises(InvalidValue, match="concurrency"):
        Mix((TrafficClass(Traffic(concurrency=3, isl=5, osl=5)),))


def test_counted_hours_are_those_of_the_arrivals() -> None:
    counted = Rates.counted(np.array([0.0, 10.0, 3599.9, 3600.0, 7300.0]))
    assert counted.per_s.tolist() == pytest.approx([3 / 3600, 1 / 3600])
    assert counted.end_s == 7200.0
    drawn = Rates.day(2.0).arrivals_s(np.random.default_rng(0), 2 * 26 * 3600)
    assert Rates.counted(drawn).per_s[:24] == pytest.approx(Rates.day(2.0).per_s, rel=0.15)


@pytest.mark.parametrize("last_s", [0.0, 3599.0, 1e300])
def test_arrivals_of_no_hour_or_of_ages_are_refused(last_s: float) -> None:
    with pytest.raises(InvalidValue, match="1 hour to 1 year"):
        Rates.counted(np.array([0.0, last_s]))
