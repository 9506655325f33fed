"""Kernels that reach more or less of the peaks: what is a share of a peak scales, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcalc.physics.scaled import with_efficiency
from tests.physics.test_step import MODELS, steps

KERNELS = ("gemm", "lm_head", "glue", "attention_decode", "attention_prefill", "experts")


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10)
@given(
    gpu=st.sampled_from(["h100", "h200", "b200"]),
    batch=st.integers(1, 500),
    tokens=st.integers(0, 8000),
    up=st.floats(1, 3),
)
def test_better_kernels_are_never_slower_and_links_stay(
    model: str, gpu: str, batch: int, tokens: int, up: float
) -> None:
    step = steps(model, gpu, tensor_parallel_size=2)
    work = (batch, batch * 1000, tokens, tokens**2 / 2, 1)
    plain, faster = (one.breakdown(*work) for one in (step, with_efficiency(step, up)))
    for part, seconds in plain.items():
        if part in KERNELS:
            assert float(seconds) / up * (1 - 1e-9) <= float(faster[part]) <= float(seconds)
        elif part != "launch":  # the host runs ahead of kernels, so that its wait depends on them
            assert float(faster[part]) == float(seconds)


def test_arithmetic_takes_as_much_longer_as_its_peak_is_lower() -> None:
    """A prompt of 8k tokens on one GPU is nearly all arithmetic: a fifth less takes 25 % more.

    Storing its new keys, which is part of prefill attention, is not.
    """
    step = steps("llama-3.1-8b", "h100")
    work = (0, 0, 8192, 8192**2 / 2, 1)
    plain, slow = (one.breakdown(*work) for one in (step, with_efficiency(step, 0.8)))
    for part in ("gemm", "attention_prefill"):
        assert float(slow[part]) / float(plain[part]) == pytest.approx(1.25, abs=0.02)
