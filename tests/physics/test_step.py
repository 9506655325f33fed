"""The step: floors anyone can compute, and laws that hold on every GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcalc import EngineArgs
from fitcalc.catalog.formats import load_kv_format, load_weight_format
from fitcalc.catalog.gpu import gpu_ids, load_gpus
from fitcalc.catalog.model import load_model
from fitcalc.physics.build import step_model
from fitcalc.physics.stacked import gather, take
from fitcalc.physics.step import StepModel
from fitcalc.physics.weights import Parallel
from fitcalc.planning.server import step_of
from fitcalc.planning.setup import Setup, set_up
from tests.samples import ENGINE

GPUS = st.sampled_from(gpu_ids())
MODELS = (
    "llama-3.1-8b",
    "qwen3-30b-a3b",
    "deepseek-v2-lite",
    "gemma-3-27b-it",
    "qwen3-next-80b-a3b",
)


def steps(model: str, gpu: str, **engine: object) -> StepModel:
    setup = set_up(model, gpu, EngineArgs(**engine))
    assert isinstance(setup, Setup)
    return step_of(setup)


def test_8b_decodes_no_faster_than_it_reads_its_weights() -> None:
    """15.0 GB without the embedding table over 3.35 TB/s: 4.5 ms (H100 SXM, bf16)."""
    weights = 2 * (8_030_261_248 - 128_256 * 4096)
    floor = weights / 3.35e12
    assert floor == pytest.approx(4.5e-3, rel=0.01)
    step = float(steps("llama-3.1-8b", "h100").step_s(1, 1000))
    assert floor < step < 2 * floor


def test_70b_prefill_is_bound_by_its_flops() -> None:
    """2 x 70.6e9 x 8192 FLOP over 4 H100 at 989 TFLOPS: 0.29 s at full peak, twice that at half."""
    step = steps("llama-3.1-70b", "h100", tensor_parallel_size=4)
    seconds = float(step.step_s(0, 0, 8192, 8192**2 / 2, 1))
    ideal = 2 * 70.6e9 * 8192 / (4 * 989e12)
    assert ideal / 0.95 < seconds < ideal / 0.4


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=15)
@given(
    gpu=GPUS, batch=st.integers(1, 500), context=st.integers(1, 8000), tokens=st.integers(1, 8000)
)
def test_more_work_never_takes_less_time(
    model: str, gpu: str, batch: int, context: int, tokens: int
) -> None:
    """But for the empty rows of a GEMM's tiles, which a larger batch fills."""
    half = load_weight_format("bf16")
    cards = load_gpus([gpu])
    step = step_model(
        load_model(model), cards, half, load_kv_format("auto"), Parallel(), engine=ENGINE
    )
    gemms, head = (
        term._replace(law=term.law._replace(unfilled=0.0)) for term in (step.gemms, step.head)
    )
    step = replace(step, gemms=gemms, head=head)
    base = float(step.step_s(batch, batch * context))
    assert float(step.step_s(batch + 1, batch * context)) >= base
    assert float(step.step_s(batch, batch * (context + 1))) >= base
    mixed = float(step.step_s(batch, batch * context, tokens, tokens**2 / 2, 1))
    assert mixed >= base
    assert float(step.step_s(batch, batch * context, tokens + 1, (tokens + 1) ** 2 / 2, 1)) >= mixed


@pytest.mark.parametrize("model", MODELS)
def test_a_stack_answers_as_each_of_its_rows(model: str) -> None:
    """The planner asks thousands of candidates at once; each must get its own answer."""
    llm = load_model(model)
    cards = load_gpus(["h100_sxm", "l40s", "mi300x", "t4"])
    kv = load_kv_format("auto")
    blocks, alone = [], []
    for weight in map(load_weight_format, ("bf16", "fp8")):
        for tp in (1, 2):
            split = Parallel(tp)
            blocks.append(step_model(llm, cards, weight, kv, split, engine=ENGINE, stacked=True))
            alone += [step_model(llm, [c], weight, kv, split, engine=ENGINE) for c in cards]
    whole = gather([(block, len(cards)) for block in blocks])
    work = (np.array([1.0, 64.0]), np.array([500.0, 90_000.0]), np.array([0.0, 900.0]))
    pairs = np.array([0.0, 405_000.0])
    together = whole.step_s(work[0][None], work[1][None], work[2][None], pairs[None], 1.0)
    each = np.stack([one.step_s(work[0], work[1], work[2], pairs, 1.0) for one in alone])
    assert together == pytest.approx(each)
    few = take(whole, np.array([3, 0], dtype=np.intp))
    assert few.step_s(work[0][None], work[1][None]) == pytest.approx(
        np.stack([alone[i].step_s(work[0], work[1]) for i in (3, 0)])
    )


def test_a_pipeline_leaves_a_token_its_time_and_shares_the_prefill() -> None:
    one = steps("llama-3.1-70b", "h100", tensor_parallel_size=4)
    two = steps("llama-3.1-70b", "h100", tensor_parallel_size=4, pipeline_parallel_size=2)
    assert float(two.step_s(1, 1000)) == pytest.approx(float(one.step_s(1, 1000)), rel=0.01)
    whole, shared = (float(x.step_s(0, 0, 8192, 8192**2 / 2, 1)) for x in (one, two))
    assert shared == pytest.approx(whole / 2, rel=0.15)


def test_parts_of_a_step_are_those_of_its_model() -> None:
    dense = steps("llama-3.1-8b", "h100").breakdown(8, 8000)
    experts = steps("qwen3-30b-a3b", "h100").breakdown(8, 8000)
    assert "experts" not in dense
    assert float(experts["experts"]) > 0
    assert float(dense["link"]) == 0.0
