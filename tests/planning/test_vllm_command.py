"""The printed line holds exactly the settings that were predicted."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from fitcalc.inputs.engine import SchedulingPolicy
from fitcalc.planning.vllm_command import vllm_command
from tests.samples import ENGINE

# Spelled as `vllm serve --help` of 0.33.0 has them (vllm/engine/arg_utils.py).
FLAGS_WITH_VALUE = frozenset(
    {
        "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size",
        "--decode-context-parallel-size", "--quantization", "--kv-cache-dtype",
        "--max-model-len", "--max-num-seqs", "--max-num-batched-tokens",
        "--gpu-memory-utilization", "--kv-cache-memory-bytes", "--block-size",
        "--cpu-offload-gb", "--spec-method", "--spec-tokens", "--scheduling-policy",
        "--max-num-active-seqs", "--long-prefill-token-threshold", "--prefill-schedule-interval",
        "--watermark",
    }
)  # fmt: skip
SWITCHES = frozenset(
    {
        "--enable-expert-parallel", "--no-enable-prefix-caching", "--no-enable-chunked-prefill",
        "--async-scheduling", "--no-async-scheduling", "--enforce-eager",
    }
)  # fmt: skip


def test_a_plain_server_names_its_limits_and_nothing_that_is_default() -> None:
    assert vllm_command("org/model", ENGINE, quantization="fp8", kv_cache_dtype="fp8") == (
        "vllm serve org/model --tensor-parallel-size 4 --quantization fp8 --kv-cache-dtype fp8 "
        "--max-model-len 8192 --max-num-seqs 256 --max-num-batched-tokens 8192 "
        "--gpu-memory-utilization 0.92"
    )


def test_a_pinned_kv_cache_replaces_the_utilization_vllm_would_ignore() -> None:
    line = vllm_command("org/model", ENGINE.replace(kv_cache_memory_bytes=5e9))
    assert "--kv-cache-memory-bytes 5000000000" in line
    assert "--gpu-memory-utilization" not in line


def test_asynchronous_scheduling_is_named_where_the_version_would_do_otherwise() -> None:
    assert "--no-async-scheduling" in vllm_command("m", ENGINE.replace(async_scheduling=False))
    old = ENGINE.replace(version="0.11.0")
    assert " --async-scheduling" in vllm_command("m", old)
    assert "async" not in vllm_command("m", old.replace(async_scheduling=False))


def test_a_path_with_a_blank_stays_one_word() -> None:
    assert shlex.split(vllm_command("/my models/x", ENGINE))[2] == "/my models/x"


@given(
    sizes=st.tuples(*[st.integers(1, 8)] * 4),
    switches=st.tuples(*[st.booleans()] * 5),
    pinned=st.none() | st.floats(1e9, 1e11),
    drafts=st.integers(0, 4),
    policy=st.sampled_from(SchedulingPolicy),
    limits=st.tuples(*[st.integers(1, 3)] * 3),
)
def test_every_flag_is_vllms(
    *,
    sizes: tuple[int, ...],
    switches: tuple[bool, ...],
    pinned: float | None,
    drafts: int,
    policy: SchedulingPolicy,
    limits: tuple[int, ...],
) -> None:
    engine = ENGINE.replace(
        tensor_parallel_size=sizes[0],
        pipeline_parallel_size=sizes[1],
        data_parallel_size=sizes[2],
        decode_context_parallel_size=sizes[3],
        enable_expert_parallel=switches[0],
        enable_prefix_caching=switches[1],
        enable_chunked_prefill=switches[2],
        async_scheduling=switches[3],
        enforce_eager=switches[4],
        kv_cache_memory_bytes=pinned,
        num_speculative_tokens=drafts,
        block_size=16,
        scheduling_policy=policy,
        max_num_active_seqs=limits[0],
        long_prefill_token_threshold=limits[1] - 1,
        prefill_schedule_interval=limits[2],
        watermark=0.01,
    )
    words = shlex.split(vllm_command("m", engine, quantization="fp8"))[3:]
    while words:
        flag = words.pop(0)
        assert flag in FLAGS_WITH_VALUE | SWITCHES
        if flag in FLAGS_WITH_VALUE:
            assert not words.pop(0).startswith("--")
