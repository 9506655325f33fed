"""The KV layout against vLLM's own planner and logs, and its laws."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.formats import load_kv_format
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.model import load_model
from fitcalc.inputs.engine import EngineArgs, resolve
from fitcalc.physics.kv_cache import (
    KvLayout,
    kv_bytes_per_request,
    kv_layout,
    kv_tokens,
    logged_tokens,
    longest_len,
    max_concurrency,
    needed_bytes,
    num_blocks,
    reserved_blocks,
)
from fitcalc.physics.kv_layers import has_state
from fitcalc.units import GIB, MIB

TRUTH = Path(__file__).parents[1] / "truth"
MODELS = (
    "llama-3.1-8b", "gpt-oss-20b", "gemma-3-27b-it", "deepseek-v3.2", "mimo-v2-flash",
    "nvidia-nemotron-3-nano-30b-a3b-bf16", "llama-4-maverick-17b-128e-instruct",
)  # fmt: skip

Row = Mapping[str, str]


def rows(name: str) -> list[Row]:
    with (TRUTH / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lay_out(
    model: str | Mapping[str, object],
    *,
    longest: int,
    gpu: str = "h200_sxm",
    kv: str = "bf16",
    engine: EngineArgs | None = None,
) -> KvLayout:
    llm, card = load_model(model), load_gpu(gpu)
    resolved = resolve(
        (engine or EngineArgs()).replace(max_model_len=longest),
        card,
        longest=longest,
        weight_format="bf16",
        kv_cache_dtype=kv,
        hybrid=has_state(llm),
    )
    return kv_layout(llm, resolved, load_kv_format(kv), card)


@pytest.mark.parametrize("row", rows("kv_planner.csv"), ids=lambda r: f"{r['model']}-{r['tp']}")
def test_layout_equals_vllms_own_planner(row: Row) -> None:
    engine = EngineArgs(
        tensor_parallel_size=int(row["tp"]),
        max_num_batched_tokens=int(row["max_num_batched_tokens"]),
        enable_prefix_caching=row["prefix_caching"] == "yes",
        version="0.33.0",
    )
    layout = lay_out(
        row["model"], longest=int(row["max_model_len"]), kv=row["kv_format"], engine=engine
    )
    kv = float(row["kv_gib"]) * GIB
    said = {
        "groups": len(layout.groups),
        "bytes_per_block": layout.bytes_per_block,
        "blocks_per_request": layout.blocks_per_request,
        "num_blocks": int(num_blocks(layout, kv)),
        "tokens": int(kv_tokens(layout, kv)),
    }
    assert said == {name: int(row[name]) for name in said}
    assert max_concurrency(layout, kv) == pytest.approx(float(row["max_concurrency"]), rel=1e-6)


@pytest.mark.parametrize(
    "row", rows("kv_logs.csv"), ids=lambda r: f"{r['model']}-{r['version']}-{r['max_model_len']}"
)
def test_concurrency_of_start_up_logs(row: Row) -> None:
    """The logs round KV memory to 0.01 GiB and concurrency to 0.01."""
    engine = EngineArgs(tensor_parallel_size=int(row["tp"]), version=row["version"])
    layout = lay_out(
        row["model"], longest=int(row["max_model_len"]), gpu=row["gpu"], kv=row["kv_format"],
        engine=engine,
    )  # fmt: skip
    seen, kv = float(row["max_concurrency"]), float(row["kv_gib"])
    half = 0.006
    low, high = (float(max_concurrency(layout, (kv + d) * GIB)) for d in (-half, half))
    assert low - half <= seen <= high + half


LLAMA: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512,
    "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 4096,
    "vocab_size": 32000, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
WINDOWED: Mapping[str, object] = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 8192,
    "vocab_size": 32000, "sliding_window": 512, "torch_dtype": "bfloat16",
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 2,
}  # fmt: skip
HYBRID: Mapping[str, object] = {
    "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 8192,
    "vocab_size": 32000, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 64,
    "linear_value_head_dim": 64, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128, "decoder_sparse_step": 1, "mlp_only_layers": [],
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 2,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "mamba_ssm_dtype": "float32",
}  # fmt: skip
LATENT: Mapping[str, object] = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 256,
    "intermediate_size": 512, "moe_intermediate_size": 128, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 512, "q_lora_rank": None,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 4,
    "first_k_dense_replace": 4, "max_position_embeddings": 4096, "vocab_size": 32000,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "n_group": 1, "topk_group": 1,
    "topk_method": "greedy", "num_experts_per_tok": 1, "n_shared_experts": 1,
    "moe_layer_freq": 1, "norm_topk_prob": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "block_size", "longest", "tokens"),
    [
        (LLAMA, 128, 2048, 32_768),
        (WINDOWED, 32, 8192, 134_486),
        (HYBRID, 128, 8192, 119_837),
        (LATENT, 16, 4096, 58_240),
    ],
)
def test_tokens_that_vllm_0_32_logged_for_256_mib(
    config: Mapping[str, object], block_size: int, longest: int, tokens: int
) -> None:
    """Printed by vLLM 0.32.0 on a CPU, which schedules synchronously."""
    engine = EngineArgs(
        block_size=block_size, max_num_batched_tokens=2048, max_num_seqs=16, version="0.32.0",
        async_scheduling=False,
    )  # fmt: skip
    layout = lay_out(config, longest=longest, engine=engine)
    assert int(kv_tokens(layout, 256 * MIB)) == tokens


@pytest.mark.parametrize(
    ("model", "version", "longest", "kv", "gib", "seen"),
    [
        ("gemma-3-27b-it", "0.11.0", 4096, "bf16", 109.86, 205_696),
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", "0.18.0", 8192, "fp8", 95.04, 6_644_016),
        ("llama-3.1-8b", "0.33.0", 131_072, "bf16", 50.0, 409_600),
    ],
)
def test_tokens_that_older_versions_logged(
    *, model: str, version: str, longest: int, kv: str, gib: float, seen: int
) -> None:
    """Public start-up logs, which round the memory to 0.01 GiB, and vLLM's own planner."""
    layout = lay_out(model, longest=longest, kv=kv, engine=EngineArgs(version=version))
    low, high = (float(logged_tokens(layout, (gib + d) * GIB, version)) for d in (-0.006, 0.006))
    assert low <= seen <= high


def test_llama_70b_takes_320_kib_a_token_over_all_ranks() -> None:
    """2 x 8 heads x 128 x 80 layers x 2 bytes (Llama 3.1's config.json)."""
    for tp in (1, 2, 4, 8):
        engine = EngineArgs(tensor_parallel_size=tp)
        per_rank = lay_out("llama-3.1-70b", longest=131072, engine=engine).kv_bytes_per_token
        assert per_rank * tp == 327_680


def test_pipeline_stages_hold_their_own_layers() -> None:
    engine = EngineArgs(pipeline_parallel_size=4)
    layout = lay_out("llama-3.1-70b", longest=8192, engine=engine)
    assert layout.stage_bytes == (20 * 16 * 8 * 256 * 2,) * 4


def test_context_parallel_ranks_share_the_tokens() -> None:
    alone = lay_out("deepseek-v3", longest=131072, engine=EngineArgs(tensor_parallel_size=8))
    engine = EngineArgs(tensor_parallel_size=8, decode_context_parallel_size=8)
    shared = lay_out("deepseek-v3", longest=131072, engine=engine)
    assert shared.blocks_per_request * 8 == alone.blocks_per_request


def test_speculation_adds_the_cache_of_the_prediction_layer() -> None:
    """DeepSeek-V3 has 61 layers and one multi-token-prediction layer."""
    plain, drafted = (
        lay_out("deepseek-v3", longest=8192, engine=EngineArgs(num_speculative_tokens=n))
        for n in (0, 1)
    )
    assert drafted.bytes_per_block * 61 == plain.bytes_per_block * 62


@given(
    model=st.sampled_from(MODELS),
    tokens=st.lists(st.integers(1, 1_000_000), min_size=2, max_size=20),
)
def test_a_longer_request_never_takes_less(model: str, tokens: list[int]) -> None:
    layout = lay_out(model, longest=131072)
    lengths = np.sort(np.array(tokens, dtype=np.float64))
    assert np.all(np.diff(np.asarray(reserved_blocks(layout, lengths))) >= 0)
    assert np.all(np.diff(np.asarray(kv_bytes_per_request(layout, lengths))) >= 0)


@given(model=st.sampled_from(MODELS), gib=st.floats(0.5, 100.0))
def test_the_longest_request_fits_and_one_more_token_does_not(model: str, gib: float) -> None:
    layout = lay_out(model, longest=131072)
    usable = float(num_blocks(layout, gib * GIB)) - layout.null_blocks
    longest = longest_len(layout, gib * GIB)
    assert float(reserved_blocks(layout, float(longest))) <= usable or longest == 0
    assert float(reserved_blocks(layout, longest + 1.0)) > usable


@given(model=st.sampled_from(MODELS), longest=st.integers(16, 131072))
def test_a_running_request_holds_no_more_than_it_reserves(model: str, longest: int) -> None:
    layout = lay_out(model, longest=longest)
    held = float(kv_bytes_per_request(layout, float(longest)))
    spare = len(layout.groups) * layout.bytes_per_block
    assert held <= needed_bytes(layout) + spare


@given(model=st.sampled_from(MODELS), longest=st.integers(1024, 131072))
def test_fewer_kv_bits_never_hold_fewer_requests(model: str, longest: int) -> None:
    wide, narrow = (lay_out(model, longest=longest, kv=kv) for kv in ("bf16", "fp8"))
    assert max_concurrency(narrow, 40 * GIB) >= max_concurrency(wide, 40 * GIB) * 0.99
