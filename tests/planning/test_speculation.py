"""Speculative decoding: tokens of a step, what a step costs, and when it pays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import EngineArgs, FitcalcError, MemoryLedger, Slo, Speculation, Traffic, plan
from fitcalc.inputs.speculation import DraftMethod
from fitcalc.physics.drafting import DraftingStep
from fitcalc.planning.feature import Feature, FeatureName
from fitcalc.planning.server import start, step_of
from fitcalc.planning.setup import Setup

CHAT = Traffic(qps=40, isl=500, osl=500)
SLO = Slo(ttft_ms=2000, itl_ms=80, e2e_ms=6000)


def asked(acceptance: float, drafts: int = 3, method: str = "eagle3") -> Speculation:
    return Speculation(
        method=DraftMethod(method), num_speculative_tokens=drafts, acceptance=acceptance
    )


def server() -> Setup:
    started = start("llama-3.1-70b", "h100", EngineArgs(tensor_parallel_size=4, quantization="fp8"))
    assert isinstance(started, tuple)
    setup, ledger = started
    assert isinstance(ledger, MemoryLedger)
    return setup


def beside(speculation: Speculation, qps: float = 40) -> Feature:
    traffic = CHAT.replace(qps=qps)
    found = plan("70b", traffic, SLO, gpus=["h100"], speculation=speculation)
    assert len(found.features) == 1
    return found.features[0]


@pytest.mark.parametrize(("acceptance", "drafts"), [(0.3, 1), (0.7, 3), (0.9, 7)])
def test_tokens_of_a_step_are_those_of_coins(acceptance: float, drafts: int) -> None:
    """Kept until the first that is not, and one more."""
    kept = np.random.default_rng(0).random((200_000, drafts)) < acceptance
    tokens = 1 + np.logical_and.accumulate(kept, axis=1).sum(axis=1).mean()
    assert asked(acceptance, drafts).tokens_a_step == pytest.approx(tokens, rel=0.01)


def test_no_drafts_are_the_step_itself() -> None:
    base = step_of(server())
    for batch in (1.0, 16.0, 200.0):
        columns = batch, batch * 1000.0, 512.0, 512.0 * 800.0, 1.0
        none = DraftingStep(base, 0, 0.0).step_s(*columns)
        assert float(none) == pytest.approx(float(base.step_s(*columns)), rel=1e-9)


@given(st.integers(1, 512), st.integers(1, 8))
def test_a_check_costs_no_less_than_a_step_and_less_than_its_tokens_one_by_one(
    batch: int, drafts: int
) -> None:
    base = step_of(server())
    columns = float(batch), batch * 1000.0
    one = float(base.step_s(*columns))
    check = float(DraftingStep(base, drafts, 0.0).step_s(*columns))
    assert 0.99 * one <= check <= 1.01 * one * (1 + drafts)  # fitted laws are not quite smooth
    assert float(DraftingStep(base, drafts, 1 / 80).step_s(*columns)) > check


def test_the_gain_fades_as_batches_grow() -> None:
    base = step_of(server())
    batch = np.array([1.0, 64.0, 1024.0])
    plain, drafted = (
        step.step_s(batch, batch * 1000.0) for step in (base, DraftingStep(base, 3, 1 / 80))
    )
    faster = asked(0.7).tokens_a_step * plain / drafted
    assert faster[0] > faster[1] > faster[2]
    assert faster[0] > 1.5
    assert faster[2] < 1.1


def test_it_is_recommended_where_it_wins_by_more_than_its_risk() -> None:
    good, poor = beside(asked(0.8)), beside(asked(0.05, drafts=8))
    assert good.name is FeatureName.SPECULATIVE_DECODING
    assert good.saving is not None
    assert poor.saving is not None
    assert good.risk > 0
    assert good.saving > poor.saving
    for one in (good, poor):
        assert one.recommended == ((one.saving or 0.0) > one.risk)
    assert not poor.recommended
    assert "--spec-method eagle3" in good.flags
    assert any("pay" in line for line in good.why)


def test_more_acceptance_never_costs_more() -> None:
    bills = [beside(asked(a)).having for a in (0.2, 0.5, 0.8)]
    counts = [one.gpu_count for one in bills if one is not None]
    assert counts == sorted(counts, reverse=True)


def test_mtp_asks_for_layers_that_predict_several_tokens() -> None:
    with pytest.raises(FitcalcError, match="multi-token"):
        beside(asked(0.7, method="mtp"))
