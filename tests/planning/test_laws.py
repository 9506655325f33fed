"""Laws of the judgement: what cannot cost more, what cannot be slower, what says the same again."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcalc import (
    Choice,
    EngineArgs,
    Plan,
    Prediction,
    Simulation,
    Slo,
    Traffic,
    plan,
    predict,
    simulate,
)
from fitcalc.answers import Limit
from fitcalc.catalog.gpu import load_gpu
from fitcalc.physics.step import StepModel
from fitcalc.planning.server import step_of
from fitcalc.planning.setup import Setup, set_up

MANY = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "wide" else 6
"""Questions each law is asked; many with ``make fuzz``."""
MODELS = st.sampled_from(["llama-3.1-8b", "qwen3-32b", "gpt-oss-120b", "gemma-3-27b-it"])
CARDS = ("h100_sxm", "l40s", "a100_sxm_80gb", "h200_sxm", "b200_sxm", "l4", "mi300x")
SLOS = st.builds(Slo, ttft_ms=st.floats(150, 5000), itl_ms=st.floats(15, 150))
OPEN = st.builds(
    Traffic, qps=st.floats(0.2, 60), isl=st.integers(16, 8000), osl=st.integers(1, 800)
)
LOOPS = st.builds(
    Traffic, concurrency=st.integers(1, 300), isl=st.integers(16, 8000), osl=st.integers(1, 800)
)
TRAFFIC = st.one_of(OPEN, LOOPS)
SOME = st.lists(st.sampled_from(CARDS), min_size=1, max_size=3, unique=True)


def cost(found: Plan) -> float:
    """Return what the best costs; what does not serve costs infinitely much. [USD/h]"""
    if found.best is None:
        return math.inf
    return math.inf if found.best.usd_per_hour is None else found.best.usd_per_hour


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME, st.floats(1.0, 3.0))
def test_more_traffic_never_costs_less(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str], more: float
) -> None:
    grown = (
        traffic.replace(qps=traffic.qps * more)
        if traffic.qps
        else traffic.replace(concurrency=math.ceil((traffic.concurrency or 1) * more))
    )
    assert cost(plan(model, grown, slo, gpus=gpus)) >= cost(plan(model, traffic, slo, gpus=gpus))


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME, st.tuples(st.floats(1.0, 3.0), st.floats(1.0, 3.0)))
def test_a_looser_promise_never_costs_more(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str], more: tuple[float, float]
) -> None:
    loose = slo.replace(ttft_ms=slo.ttft_ms * more[0], itl_ms=slo.itl_ms * more[1])
    assert cost(plan(model, traffic, loose, gpus=gpus)) <= cost(
        plan(model, traffic, slo, gpus=gpus)
    )


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME, st.sampled_from(CARDS))
def test_one_more_gpu_type_never_costs_more(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str], one: str
) -> None:
    more = list(dict.fromkeys([*gpus, one]))
    few = plan(model, traffic, slo, gpus=gpus)
    many = plan(model, traffic, slo, gpus=more)
    assert bool(many) >= bool(few)
    assert cost(many) <= cost(few)


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME, st.tuples(st.floats(0.5, 2.0), st.floats(1.0, 3.0)))
def test_a_larger_budget_never_costs_more(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str], budgets: tuple[float, float]
) -> None:
    share, more = budgets
    free = cost(plan(model, traffic, slo, gpus=gpus))
    budget = share * free if math.isfinite(free) else 100.0
    small, large = (
        cost(plan(model, traffic, slo, gpus=gpus, budget_usd_per_hour=budget * factor))
        for factor in (1.0, more)
    )
    assert large <= small
    assert small == math.inf or small <= budget
    if math.isfinite(free) and share >= 1:
        assert small == free


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME)
def test_every_choice_keeps_its_promise_when_predicted_again(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str]
) -> None:
    found = plan(model, traffic, slo, gpus=gpus)
    for choice in (found.best, *found.alternatives):
        if choice is None:
            continue
        share = traffic.share(choice.replicas)
        again = predict(model, choice.gpu, pinned(choice), share, method="closed_form")
        assert isinstance(again, Prediction)
        assert again.stable
        assert again.ttft_ms.at(slo.percentile) <= slo.ttft_ms
        assert again.itl_ms.at(slo.at(Limit.ITL)) <= slo.itl_ms


def pinned(choice: Choice) -> EngineArgs:
    engine = choice.engine
    return EngineArgs(
        tensor_parallel_size=engine.tensor_parallel_size,
        pipeline_parallel_size=engine.pipeline_parallel_size,
        quantization=engine.weight_format,
        kv_cache_dtype=engine.kv_cache_dtype,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
    )


@pytest.mark.parametrize(
    ("model", "traffic"),
    [
        ("llama-3.1-8b", Traffic(qps=30, isl=1000, osl=200)),
        ("qwen3-32b", Traffic(qps=6, isl=3000, osl=150)),
        ("gpt-oss-120b", Traffic(qps=10, isl=2000, osl=200)),
    ],
)
def test_a_plan_keeps_its_promise_in_events(model: str, traffic: Traffic) -> None:
    slo = Slo(ttft_ms=1500, itl_ms=60)
    best = plan(model, traffic, slo, gpus=["h100_sxm", "l40s"], verify=True).best
    assert best is not None
    share = traffic.share(best.replicas).replace(num_requests=1500)
    seen = simulate(model, best.gpu, pinned(best), share, seed=3)
    assert isinstance(seen, Simulation)
    assert seen.ttft_ms.at(slo.percentile) <= slo.ttft_ms
    assert seen.itl_ms.at(slo.at(Limit.ITL)) <= slo.itl_ms


@settings(max_examples=3 * MANY)
@given(
    st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b-it"]),
    st.sampled_from(["h100_sxm", "a100_sxm_80gb", "b200_sxm"]),
    st.floats(1.0, 4.0), st.integers(0, 500), st.integers(0, 8000),
)  # fmt: skip
def test_more_bandwidth_never_slows(
    model: str, gpu: str, more: float, decodes: int, prompt: int
) -> None:
    card = load_gpu(gpu)
    link = replace(card.link, bandwidth=card.link.bandwidth * more)
    wide = replace(card, memory_bandwidth=card.memory_bandwidth * more)
    work = (decodes, decodes * 1000, prompt, prompt**2 / 2, float(prompt > 0))
    slow = float(step(model, card).step_s(*work))
    assert float(step(model, wide).step_s(*work)) <= slow
    assert float(step(model, replace(card, link=link)).step_s(*work)) <= slow


def step(model: str, card: object) -> StepModel:
    setup = set_up(model, card, EngineArgs(tensor_parallel_size=2))  # type: ignore[arg-type]
    assert isinstance(setup, Setup)
    return step_of(setup)


@settings(max_examples=MANY)
@given(MODELS, TRAFFIC, SLOS, SOME)
def test_the_same_question_gives_the_same_bytes(
    model: str, traffic: Traffic, slo: Slo, gpus: list[str]
) -> None:
    one, other = (plan(model, traffic, slo, gpus=gpus).model_dump_json() for _ in range(2))
    assert one == other


def test_another_process_gives_the_same_bytes() -> None:
    words = ["plan", "--model", "8b", "--isl", "2000", "--osl", "200", "--qps", "20", "--json"]
    more = ["--pareto", "--sensitivity", "--gpu", "l40s"]
    said = {
        subprocess.run(
            [sys.executable, "-m", "fitcalc", *words, *more],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
