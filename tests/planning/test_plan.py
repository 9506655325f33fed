"""The planner: sanity anyone can check by hand, laws, and honesty about who lost."""

from __future__ import annotations

import pytest

from fitcalc import Choice, EngineArgs, FitcalcError, Plan, Prediction, Slo, Traffic, plan, predict
from fitcalc.answers import Limit
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.inputs.buying import Buying
from fitcalc.planning.cost import bill, usd_per_million
from fitcalc.planning.market import market

CHAT = Traffic(qps=20, isl=7168, osl=1024)


def h100s(weights: str, kv: str = "bf16") -> int:
    engine = EngineArgs(kv_cache_dtype=kv, max_model_len=8192)
    found = plan("70b", CHAT, gpus=["h100"], quantization=[weights], engine=engine)
    assert found.best is not None
    return found.best.gpu_count


def test_70b_at_20_a_second_takes_about_a_hundred_h100s_in_16_bits_and_half_in_fp8() -> None:
    """Arithmetic anyone can redo (dense peak 989 TFLOPS bf16, 3.35 TB/s).

    Prefill: 2 x 70.6e9 x 7168 = 1.01e15 FLOP and attention 4 x 80 x 64 x 128 x 7168² / 2 = 0.07e15:
    1.08e15 a request, x 20 = 2.16e16 FLOP/s: 33 GPUs at 67 % of peak, 44 at 50 %. Decode: 20,480
    tokens a second, about 28 GPUs at TP8, 43 at TP4. Both share the same cards, and the queue needs
    headroom.
    """
    half = h100s("bf16")
    assert 60 <= half <= 140
    assert 0.35 <= h100s("fp8", kv="fp8") / half <= 0.65


@pytest.fixture(scope="module")
def whole() -> Plan:
    """One plan over the whole catalogue."""
    return plan("70b", CHAT)


def test_every_gpu_type_serves_or_says_why_not(whole: Plan) -> None:
    served = {choice.gpu for choice in (whole.best, *whole.alternatives) if choice}
    lost = {one.gpu for one in whole.rejections}
    assert served | lost == set(gpu_ids())


def test_the_best_is_the_cheapest(whole: Plan) -> None:
    prices = [c.usd_per_hour for c in (whole.best, *whole.alternatives) if c]
    known = [p for p in prices if p is not None]
    assert prices[: len(known)] == known == sorted(known)


def test_every_choice_keeps_the_promise_when_asked_again(whole: Plan) -> None:
    slo = whole.question.slo
    for choice in (whole.best, *whole.alternatives):
        assert choice is not None
        again = asked_again(choice, CHAT)
        assert again.ttft_ms.at(slo.percentile) <= slo.ttft_ms
        assert again.itl_ms.at(slo.percentile) <= slo.itl_ms
        assert again.ttft_ms.mean == pytest.approx(choice.prediction.ttft_ms.mean, rel=1e-6)
        assert choice.headroom >= whole.question.headroom - 1e-9


def asked_again(choice: Choice, traffic: Traffic) -> Prediction:
    engine = choice.engine
    args = EngineArgs(
        tensor_parallel_size=engine.tensor_parallel_size,
        pipeline_parallel_size=engine.pipeline_parallel_size,
        quantization=engine.weight_format,
        kv_cache_dtype=engine.kv_cache_dtype,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
    )
    share = traffic.replace(qps=(traffic.qps or 0) / choice.replicas)
    found = predict("70b", choice.gpu, args, share)
    assert isinstance(found, Prediction)
    return found


def test_replicas_leave_room_for_the_queue(whole: Plan) -> None:
    """Never ceil(qps / saturated rate): that runs at the edge of stability."""
    for choice in (whole.best, *whole.alternatives):
        assert choice is not None
        assert choice.prediction.utilization < 0.85


def test_rejections_carry_numbers(whole: Plan) -> None:
    assert whole.rejections
    for one in whole.rejections:
        assert one.reason
        if one.limit is Limit.MEMORY:
            assert one.needed > one.available > 0


def test_the_same_question_has_the_same_answer(whole: Plan) -> None:
    assert plan("70b", CHAT) == whole


def test_a_closed_loop_is_planned_by_its_clients() -> None:
    found = plan("llama-3.1-8b", Traffic(concurrency=500, isl=1000, osl=300), gpus=["h100", "l40s"])
    assert found.best is not None
    more = plan("llama-3.1-8b", Traffic(concurrency=2000, isl=1000, osl=300), gpus=["h100", "l40s"])
    assert more.best is not None
    assert (more.best.usd_per_hour or 0) > (found.best.usd_per_hour or 0)


def test_nothing_fits_names_the_closest_and_what_is_missing() -> None:
    found = plan("llama-3.1-405b", Traffic(qps=1, isl=1000, osl=100), gpus=["l4"], max_gpus=4)
    assert not found
    assert found.closest is not None
    assert found.closest.limit is Limit.MEMORY
    assert found.closest.needed > found.closest.available


def test_a_promise_nobody_keeps_says_which_limit() -> None:
    found = plan("70b", CHAT, Slo(ttft_ms=20, itl_ms=100))
    assert found.best is None
    assert found.closest is not None
    assert found.closest.limit is Limit.TTFT
    assert found.closest.available == 20


def test_limits_of_gpus_and_money_are_kept() -> None:
    few = plan("70b", CHAT, max_gpus=60)
    assert few.best is not None
    assert all(c.gpu_count <= 60 for c in (few.best, *few.alternatives) if c)
    cheap = plan("70b", CHAT, budget_usd_per_hour=200.0)
    assert cheap.best is not None
    assert all((c.usd_per_hour or 1e9) <= 200.0 for c in (cheap.best, *cheap.alternatives) if c)
    assert {one.limit for one in cheap.rejections} & {Limit.BUDGET, Limit.PRICE}


def test_one_cloud_sells_only_what_it_has() -> None:
    found = plan("llama-3.1-8b", Traffic(qps=10, isl=1000, osl=200), buying=Buying(cloud="aws"))
    assert found.best is not None
    assert all("aws" in c.price_source for c in (found.best, *found.alternatives) if c)


def test_a_model_too_large_for_a_node_runs_in_a_pipeline() -> None:
    traffic = Traffic(qps=0.5, isl=1000, osl=200)
    found = plan("llama-3.1-405b", traffic, gpus=["a100-40"], quantization=["bf16"])
    assert found.best is not None
    assert found.best.engine.pipeline_parallel_size >= 2
    assert found.best.gpu_count % 8 == 0


def test_cached_prompts_cost_less() -> None:
    cold = plan("70b", CHAT, gpus=["h100"]).best
    warm = plan("70b", CHAT.replace(prefix_hit=0.8), gpus=["h100"]).best
    assert cold is not None
    assert warm is not None
    assert warm.gpu_count < cold.gpu_count


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("max_gpus", {"max_gpus": 0}),
        ("budget", {"budget_usd_per_hour": float("nan")}),
        ("budget", {"budget_usd_per_hour": -1.0}),
        ("headroom", {"headroom": 1.0}),
        ("gpu", {"exclude_gpus": ["h100"], "gpus": ["h100"]}),
        ("gpu", {"gpus": ["h10000"]}),
        ("cloud", {"buying": Buying(cloud="nowhere")}),
        ("format", {"quantization": ["fp7"]}),
    ],
)
def test_limits_that_make_no_sense_are_refused(words: str, call: dict[str, object]) -> None:
    with pytest.raises(FitcalcError, match=words):
        plan("70b", CHAT, **call)  # type: ignore[arg-type]


def test_requests_longer_than_the_model_takes_are_refused() -> None:
    with pytest.raises(FitcalcError, match="131,072"):
        plan("70b", Traffic(qps=1, isl=200_000, osl=100))


def test_instances_are_bought_whole() -> None:
    """Nine one-GPU replicas on 8-GPU instances take two of them."""
    whole = bill("b200_sxm", 1, 9, market(Buying(cloud="aws")))
    assert whole is not None
    assert (whole.instances, whole.gpus) == (2, 16)
    assert whole.usd_per_hour == pytest.approx(2 * whole.offer.usd_per_hour)


def test_a_million_tokens_at_a_dollar() -> None:
    assert usd_per_million(3.6, 1000.0) == pytest.approx(1.0)


def test_caches_that_vllm_refuses_below_hopper_are_not_proposed() -> None:
    """vLLM 0.33 does not start gpt-oss, Gemma 3 or MLA models with an fp8 cache on an A100."""
    traffic = Traffic(qps=2, isl=1000, osl=200)
    for model in ("gpt-oss-120b", "gemma-3-27b-it", "deepseek-v2-lite"):
        old = plan(model, traffic, gpus=["a100-80"]).best
        assert old is not None
        assert old.engine.kv_cache_dtype == "bf16"
