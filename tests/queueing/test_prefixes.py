"""The prefix cache in closed form: laws, exact cases, and events under vLLM's rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import EngineArgs, Prediction, Traffic, predict
from fitcalc.errors import InvalidValue
from fitcalc.queueing.prefixes import PrefixRoom

ENGINE = EngineArgs(max_num_seqs=256, max_model_len=8192, gpu_memory_utilization=0.6)
SHARED = Traffic(qps=4, isl=5000, osl=300, prefix_tokens=4096, num_requests=3000)
sizes = st.floats(1e3, 1e9)
batches = st.floats(0.0, 500.0)


def room(kv: float, prefix: float, held: float, left: float, count: int) -> PrefixRoom:
    return PrefixRoom(np.array([kv]), np.array([prefix]), np.array([held]), np.array([left]), count)


def found(one: PrefixRoom, batch: float) -> float:
    return float(one.found(np.array([[batch]]))[0, 0])


@given(sizes, sizes, sizes, st.integers(2, 10_000))
def test_the_last_requests_fill_the_cache(
    kv: float, prefix: float, left: float, count: int
) -> None:
    """With nobody running the window u solves u l + P p (1 - q^u) = M."""
    share = found(room(kv, prefix, left, left, count), 0.0)
    if share > 1 - 1e-6:  # the window is then no longer told by its logarithm
        return
    window = np.log1p(-share) / np.log1p(-1 / count)
    assert window * left + count * prefix * share == pytest.approx(kv, rel=1e-3)


@given(sizes, sizes, sizes, sizes, st.integers(1, 1000), batches)
def test_more_room_never_hits_less(  # noqa: PLR0917 - one law
    kv: float, prefix: float, held: float, more: float, count: int, batch: float
) -> None:
    small, large = (room(x, prefix, held, held, count) for x in (kv, kv + more))
    assert found(large, batch) >= found(small, batch) - 1e-9
    assert large.most >= small.most - 1e-9


@given(sizes, sizes, sizes, st.integers(1, 1000), st.integers(1, 1000))
def test_more_prefixes_never_hit_more(
    kv: float, prefix: float, held: float, few: int, more: int
) -> None:
    some, many = (room(kv, prefix, held, held, n) for n in (few, few + more))
    assert found(many, 1.0) <= found(some, 1.0) + 1e-9
    least = 1.0  # less than one request runs nowhere
    assert float(many.most[0]) <= max(float(some.most[0]) * (1 + 1e-6), least)


@given(sizes, sizes, sizes)
def test_a_prefix_of_all_is_held_once(kv: float, prefix: float, held: float) -> None:
    one = room(kv, prefix, held, held, 1)
    assert one.most[0] * held == pytest.approx(max(kv - prefix, 0.0))
    assert found(one, 1.0) == 1.0


def test_a_cache_that_keeps_all_misses_none() -> None:
    assert found(room(1e12, 1e6, 1e6, 1e6, 50), 10.0) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 20, 60, 200])
def test_hits_are_those_of_events(count: int) -> None:
    """The real cache, block by block, under the same requests."""
    traffic = SHARED.replace(num_prefixes=count)
    said, seen = (
        predict("llama-3.1-8b", "h100", ENGINE, traffic, method=how)
        for how in ("closed_form", "simulation")
    )
    assert isinstance(said, Prediction)
    assert isinstance(seen, Prediction)
    assert said.prefix_hit == pytest.approx(seen.prefix_hit, abs=0.015)
    assert said.ttft_ms.mean == pytest.approx(seen.ttft_ms.mean, rel=0.06)
    assert said.tpot_ms.mean == pytest.approx(seen.tpot_ms.mean, rel=0.05)


def test_without_the_cache_nothing_hits() -> None:
    off = predict(
        "llama-3.1-8b", "h100", ENGINE.replace(enable_prefix_caching=False), SHARED,
        method="closed_form",
    )  # fmt: skip
    assert isinstance(off, Prediction)
    assert off.prefix_hit == 0.0


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Traffic(qps=1, isl=100, osl=10, num_prefixes=3),
        lambda: Traffic(qps=1, isl=100, osl=10, num_prefixes=3, prefix_tokens=9, prefix_hit=0.5),
        lambda: Traffic(qps=1, isl=100, osl=10, num_prefixes=0, prefix_tokens=9),
    ],
)
def test_prefixes_that_make_no_sense_are_refused(ask: Callable[[], Traffic]) -> None:
    with pytest.raises(InvalidValue, match="num_prefixes"):
        ask()
