"""Rates, times and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import parse_milliseconds, parse_rate


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("20", 20), ("20/s", 20), ("20 / sec", 20), ("90 per minute", 1.5), ("7.2k/h", 2),
     ("86.4M/day", 1000), ("1e3/s", 1000), ("604.8K/week", 1), (".5", 0.5)],
)  # fmt: skip
def test_a_rate_is_read(text: str, per_s: float) -> None:
    assert parse_rate(text, "qps") == pytest.approx(per_s)
    assert Traffic(qps=text, isl="8k", osl=1).qps == pytest.approx(per_s)


@given(st.floats(1e-6, 1e6))
def test_a_rate_a_second_is_the_number_itself(rate: float) -> None:
    assert parse_rate(repr(rate), "qps") == parse_rate(f"{rate!r}/s", "qps") == rate
    assert parse_rate(f"{rate!r}/min", "qps") == pytest.approx(rate / 60)


@pytest.mark.parametrize("text", ["", "x", "20/", "20/fortnight", "-1/s", "nan", "inf", "20 rps/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="qps"):
        parse_rate(text, "qps")


@pytest.mark.parametrize(
    ("text", "ms"), [("500", 500), ("500ms", 500), ("2s", 2000), ("1.5 s", 1500), ("2min", 120e3)]
)
def test_a_time_is_read(text: str, ms: float) -> None:
    assert parse_milliseconds(text, "ttft_ms") == pytest.approx(ms)
    assert Slo(ttft_ms=text).ttft_ms == pytest.approx(ms)


@pytest.mark.parametrize("text", ["2 parsecs", "ms", "-1", "2h", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="itl_ms"):
        Slo(itl_ms=text)


def test_sizes_of_the_engine_are_read() -> None:
    engine = EngineArgs(max_model_len="8k", kv_cache_memory_bytes="24GiB")
    assert (engine.max_model_len, engine.kv_cache_memory_bytes) == (8192, 24 * 2**30)
    with pytest.raises(InvalidValue, match="kv_cache_memory_bytes"):
        EngineArgs(kv_cache_memory_bytes="24 GiBs")
