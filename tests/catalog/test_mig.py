"""MIG slices: shares of a whole card, from NVIDIA's tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.mig import load_device, mig_slice, profiles
from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.units import GIB

CARDS = ("a100_sxm_40gb", "a100_pcie_80gb", "a100_sxm_80gb", "h100_sxm", "h100_pcie", "h200_sxm",
         "b200_sxm")  # fmt: skip

PUBLISHED = (
    ("h100:1g.10gb", 9.75, 16 / 132, 1 / 8),
    ("h100:3g.40gb", 39.5, 60 / 132, 4 / 8),
    ("a100-40:2g.10gb", 9.75, 28 / 108, 2 / 8),
    ("a100-80:4g.40gb", 39.25, 56 / 108, 4 / 8),
    ("h200:1g.18gb", 16.0, 1 / 7, 1 / 8),
    ("b200:1g.23gb", 20992 / 1024, 1 / 7, 1 / 8),
)
"""Slice, memory [GiB], share of SMs and of memory (nvidia-smi mig -lgip; NVIDIA MIG User Guide)."""


@pytest.mark.parametrize(("name", "memory", "sms", "share"), PUBLISHED)
def test_slices_have_what_nvidia_prints(name: str, memory: float, sms: float, share: float) -> None:
    whole, part = load_gpu(name.partition(":")[0]), load_device(name)
    assert part.memory_bytes / GIB == pytest.approx(memory)
    assert part.memory_bandwidth / whole.memory_bandwidth == pytest.approx(share)
    assert part.peak_flops["bf16"] / whole.peak_flops["bf16"] == pytest.approx(sms, rel=1e-3)


@given(card=st.sampled_from(CARDS), data=st.data())
def test_a_slice_is_less_than_its_card(card: str, data: st.DataObject) -> None:
    whole = load_gpu(card)
    part = mig_slice(whole, data.draw(st.sampled_from(sorted(profiles(card)))))
    assert part.memory_bytes < whole.memory_bytes
    assert part.memory_bandwidth <= whole.memory_bandwidth
    assert all(part.peak_flops[f] <= whole.peak_flops[f] for f in whole.peak_flops)
    assert part.efficiency_from is not None
    assert part.link.domain == part.gpus_per_node == 1


@pytest.mark.parametrize("card", CARDS)
def test_slices_fill_at_most_their_card(card: str) -> None:
    """As many slices as have all of its bandwidth have no more than its memory."""
    whole = load_gpu(card)
    for name in profiles(card):
        part = mig_slice(whole, name)
        many = round(whole.memory_bandwidth / part.memory_bandwidth)
        assert many * part.memory_bytes <= whole.memory_bytes
        assert many * part.memory_bytes > 0.9 * whole.memory_bytes


@pytest.mark.parametrize("said", ["3g.40gb", "MIG 3g.40gb", "mig-3g.40gb", " 3G.40GB "])
def test_profiles_as_people_write_them(said: str) -> None:
    assert load_device(f"h100:{said}").id == "h100_sxm:3g.40gb"


@pytest.mark.parametrize("name", ["4090:1g.10gb", "h100:9g.90gb", "h100:", "mi300x:1g.10gb"])
def test_other_slices_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="mig = "):
        load_device(name)


def test_guessed_memory_is_named() -> None:
    assert "mig memory" in load_device("h200:3g.71gb").estimates
    assert "mig memory" not in load_device("h100:3g.40gb").estimates


def test_an_unknown_card_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        load_device("h1000:1g.10gb")
