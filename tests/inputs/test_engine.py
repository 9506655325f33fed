"""vLLM's settings: versions as people write them, and the defaults that follow."""

from __future__ import annotations

import pytest

from fitcalc.catalog.gpu import load_gpu
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs, PerformanceMode, release, resolve
from fitcalc.physics.activation import patch_release


@pytest.mark.parametrize(
    ("said", "meant"),
    [("0.11.2+rhai1", (0, 11)), ("v0.10", (0, 10)), ("<0.7.1", (0, 7)), (" v0.33.0 ", (0, 33)),
     (">=0.9", (0, 9)), ("0.10.x (Aug 2025)", (0, 10)), ("vLLM 0.19.1rc1.dev316", (0, 19))],
)  # fmt: skip
def test_versions_as_people_write_them(said: str, meant: tuple[int, int]) -> None:
    assert release(EngineArgs(version=said).version) == meant
    assert patch_release(said)[:2] == meant


@pytest.mark.parametrize("said", ["0.5.4", "v0.5", "latest", "", "33"])
def test_other_versions_are_refused_in_one_sentence(said: str) -> None:
    with pytest.raises(InvalidValue, match=r"^version = .* is not valid: .*\.$"):
        EngineArgs(version=said)


@pytest.mark.parametrize("rank", [1, 8, 16, 512])
def test_ranks_that_vllm_takes(rank: int) -> None:
    assert EngineArgs(max_lora_rank=rank).max_lora_rank == rank


@pytest.mark.parametrize("rank", [0, 2, 24, 1024])
def test_other_ranks_are_refused(rank: int) -> None:
    with pytest.raises(InvalidValue, match="max_lora_rank"):
        EngineArgs(max_lora_rank=rank)


LIMITS = (
    ("h100", "balanced", 8192, 1024),
    ("h100", "throughput", 16384, 2048),
    ("l40s", "throughput", 4096, 512),
    ("b200", "interactivity", 16384, 1024),
)
"""Batch limits of ``vllm serve`` 0.33 (vllm/engine/arg_utils.py:2940-3039 and 3184)."""


@pytest.mark.parametrize(("gpu", "mode", "tokens", "seqs"), LIMITS)
def test_throughput_doubles_the_defaults(gpu: str, mode: str, tokens: int, seqs: int) -> None:
    args = EngineArgs(performance_mode=PerformanceMode(mode))
    engine = resolve(
        args, load_gpu(gpu), longest=131_072, weight_format="bf16", kv_cache_dtype="bf16"
    )
    assert (engine.max_num_batched_tokens, engine.max_num_seqs) == (tokens, seqs)
    given = args.replace(max_num_batched_tokens=4096, max_num_seqs=64)
    fixed = resolve(
        given, load_gpu(gpu), longest=131_072, weight_format="bf16", kv_cache_dtype="bf16"
    )
    assert (fixed.max_num_batched_tokens, fixed.max_num_seqs) == (4096, 64)


@pytest.mark.parametrize(
    ("setting", "value", "version"),
    [
        ("scheduling_policy", "priority", "0.8.5"),
        ("long_prefill_token_threshold", 512, "0.7.3"),
        ("prefill_schedule_interval", 4, "0.32.0"),
        ("max_num_active_seqs", 8, "0.28.0"),
        ("watermark", 0.01, "0.20.0"),
    ],
)
def test_a_version_without_a_setting_says_so(setting: str, value: object, version: str) -> None:
    with pytest.raises(InvalidValue, match=rf"^{setting} = .* from 0\.\d+ on; leave it out\.$"):
        EngineArgs(**{setting: value}, version=version)
    assert getattr(EngineArgs(**{setting: value}), setting) == value


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ({"max_num_active_seqs": 65, "max_num_seqs": 64}, "at most max_num_seqs = 64"),
        ({"long_prefill_token_threshold": 5000, "max_model_len": 4096}, "max_model_len = 4096"),
    ],
)
def test_limits_that_vllm_refuses_are_refused(said: dict[str, int], fix: str) -> None:
    with pytest.raises(InvalidValue, match=fix):
        resolve(
            EngineArgs(**said),
            load_gpu("h100"),
            longest=131_072,
            weight_format="bf16",
            kv_cache_dtype="bf16",
        )
