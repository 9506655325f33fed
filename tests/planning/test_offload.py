"""Prefixes in host memory: against an LRU cache event by event, and beside a plan."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import FitcalcError, Slo, Traffic, plan
from fitcalc.planning.feature import Feature, FeatureName
from fitcalc.queueing.offload import HostRoom
from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.report.feature_view import feature_lines
from fitcalc.units import GIB

LOAD = Traffic(qps=30, isl=6000, osl=200, prefix_tokens=4000, num_prefixes=2000)
SLO = Slo(ttft_ms=3000, itl_ms=100)


def _room(prefix: float, own: float, number: int, host: float, kv: float = 0.0) -> HostRoom:
    size, one, left = np.array([[kv], [prefix], [own]])
    return HostRoom(size, one, left, left, number, host)


def _lru(prefix: float, own: float, number: int, host: float, requests: int) -> float:
    """Serve requests by a cache of bytes, the least recently used out first; share that hit."""
    kept: OrderedDict[int, float] = OrderedDict()
    names, rng = count(number), np.random.default_rng(1)
    held, hits, seen = 0.0, 0, 0
    for turn, asked in enumerate(rng.integers(0, number, requests).tolist()):
        if turn > requests // 4:
            seen += 1
            hits += asked in kept
        for name, size in ((asked, prefix), (next(names), own)):
            held += 0.0 if name in kept else size
            kept[name] = size
            kept.move_to_end(name)
        while held > host:
            held -= kept.popitem(last=False)[1]
    return hits / seen


@pytest.mark.parametrize("host", [20.0, 60.0, 200.0, 600.0])
def test_hits_are_those_of_an_lru_cache(host: float) -> None:
    said = float(_room(4.0, 2.0, 100, host).found(np.array([[0.0]]))[0, 0])
    assert said == pytest.approx(_lru(4.0, 2.0, 100, host, 20_000), abs=0.03)


@given(host=st.floats(0, 1e4), kv=st.floats(1, 1e4), batch=st.floats(0, 50))
def test_host_memory_loses_no_hits_and_more_of_it_wins(
    host: float, kv: float, batch: float
) -> None:
    node = np.array([[batch]])
    room = _room(4.0, 2.0, 100, host, kv)
    own = float(PrefixRoom.found(room, node)[0, 0])
    some = float(room.found(node)[0, 0])
    assert own <= some <= float(_room(4.0, 2.0, 100, host + 100.0, kv).found(node)[0, 0]) <= 1.0


def _asked(size: float) -> Feature:
    made = plan("llama-3.1-70b-instruct", LOAD, SLO, gpus=["h100"], kv_offload_bytes=size)
    return made.features[-1]


def test_much_host_memory_saves_servers() -> None:
    little, much = _asked(GIB), _asked(512 * GIB)
    assert little.name is FeatureName.KV_OFFLOAD
    assert little.saving == pytest.approx(0.0)
    assert not little.recommended
    assert much.having is not None
    assert much.without is not None
    assert much.having.replicas < much.without.replicas
    assert much.having.ttft_ms <= SLO.ttft_ms
    assert "--kv-offloading-size" in much.flags
    assert "over PCIe" in " ".join(feature_lines((much,)))


@pytest.mark.parametrize(
    ("traffic", "size", "said"),
    [
        (LOAD.replace(num_prefixes=1), GIB, "never lost"),
        (LOAD, -1.0, "above 0"),
        (Traffic(concurrency=8, isl=500, osl=9), GIB, "give qps"),
    ],
)
def test_what_makes_no_sense_is_said(traffic: Traffic, size: float, said: str) -> None:
    with pytest.raises(FitcalcError, match=said):
        plan("llama-3.1-8b", traffic, gpus=["h100"], kv_offload_bytes=size)
