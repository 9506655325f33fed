"""The laws of collectives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.laws import AllReduceLaw, ExchangeLaw
from fitcalc.physics.collectives import all_reduce_s, exchange_s, point_to_point_s

links = st.floats(1e9, 1e12)
floors = st.floats(0.0, 1e-3)
fractions = st.floats(0.01, 1.0)
reduces = st.builds(AllReduceLaw, links, floors, fractions, floors, fractions)
sizes = st.integers(1, 2**32)


@given(reduces, sizes, sizes, st.sampled_from([2, 4, 8]))
def test_a_larger_buffer_is_never_faster(
    law: AllReduceLaw, size: int, step: int, ranks: int
) -> None:
    assert np.asarray(all_reduce_s(size + step, ranks, law)) >= all_reduce_s(size, ranks, law)


@given(reduces, sizes, st.sampled_from([2, 4, 8]))
def test_no_all_reduce_beats_the_link(law: AllReduceLaw, size: int, ranks: int) -> None:
    """Each rank must send 2 (n - 1) / n of the buffer (Patarasuk and Yuan, JPDC 69(2), 2009)."""
    wire = 2 * (ranks - 1) / ranks * size
    assert np.asarray(all_reduce_s(size, ranks, law)) >= wire / float(law.link_bandwidth) * (
        1 - 1e-9
    )


def test_one_rank_exchanges_nothing() -> None:
    h100 = load_efficiency(load_gpu("h100_sxm"))
    assert all_reduce_s(1e6, 1, h100.all_reduce[2].law) == 0
    assert exchange_s(1e6, 1, h100.all_gather[2].law) == 0
    assert exchange_s(0.0, 8, h100.all_to_all[8].law) == 0
    assert point_to_point_s(0.0, h100.point_to_point.law) == 0


@given(links, fractions, sizes)
def test_twice_the_link_takes_half_the_time(link: float, eta: float, size: int) -> None:
    slow, fast = ExchangeLaw(link, 0.0, eta), ExchangeLaw(2 * link, 0.0, eta)
    assert exchange_s(size, 8, fast) == pytest.approx(np.asarray(exchange_s(size, 8, slow)) / 2)
    assert point_to_point_s(size, fast) == pytest.approx(
        np.asarray(point_to_point_s(size, slow)) / 2
    )


@pytest.mark.parametrize(
    ("gpu", "ranks", "size", "measured_us"),
    [
        # vLLM's custom all-reduce in a CUDA graph, aiconfigurator-core 0.12.0 (Apache-2.0)
        ("h100_sxm", 2, 16384, 4.5),
        ("h100_sxm", 8, 262144, 10.8),
        ("h100_sxm", 8, 134217728, 577.4),
        ("b200_sxm", 8, 16384, 8.1),
        ("l40s", 4, 65536, 36.9),
        ("rtx_pro_6000_server", 2, 1048576, 30.2),
    ],
)
def test_measured_all_reduces(gpu: str, ranks: int, size: int, measured_us: float) -> None:
    law = load_efficiency(load_gpu(gpu)).all_reduce[ranks].law
    assert all_reduce_s(size, ranks, law) == pytest.approx(measured_us * 1e-6, rel=0.15)
