"""The laws of kernels: floors of physics, monotony, and scaling with the hardware."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.laws import (
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.physics.attention import attention_decode_s, attention_prefill_s
from fitcalc.physics.experts import busiest_rank, experts_touched, moe_s
from fitcalc.physics.kernels import gemm_s, memory_bound_s, stack
from fitcalc.units import Values

fractions = st.floats(0.1, 1.0)
floors = st.floats(0.0, 1e-4)
peaks = st.floats(1e13, 1e16)
bandwidths = st.floats(1e11, 1e13)
tokens = st.integers(1, 100_000)
widths = st.integers(64, 65_536)
more = st.integers(1, 10_000)

gemm_laws = st.builds(
    GemmLaw,
    peaks,
    bandwidths,
    fractions,
    fractions,
    floors,
    st.floats(0, 256),
    st.floats(0, 8),
    st.floats(0, 4096),
    st.floats(0, 1e7),
    st.floats(0, 1e-8),
    st.floats(0, 4),
)
decode_laws = st.builds(
    AttentionDecodeLaw, peaks, bandwidths, fractions, fractions, floors, st.floats(0, 200)
)
prefill_laws = st.builds(
    AttentionPrefillLaw,
    peaks,
    bandwidths,
    fractions,
    floors,
    st.floats(0, 4096),
    st.floats(0, 1e5),
    st.floats(0, 50),
)
moe_laws = st.builds(
    MoeLaw,
    peaks,
    bandwidths,
    fractions,
    fractions,
    floors,
    st.floats(0, 256),
    st.floats(0, 8),
    st.floats(0.2, 1e6),
    st.floats(0, 4),
    floors,
)
experts = st.sampled_from([(8, 2), (32, 4), (128, 8), (256, 8), (512, 10)])


def rising(earlier: object, later: object) -> bool:
    return bool(np.asarray(later) >= np.asarray(earlier) * (1 - 1e-12))


def half(time: Values) -> object:
    return pytest.approx(np.asarray(time) / 2)


@given(gemm_laws, tokens, widths, widths, more)
def test_a_larger_gemm_is_never_faster(law: GemmLaw, m: int, n: int, k: int, step: int) -> None:
    time = gemm_s(m, n, k, 2.0, law)
    whole = law._replace(unfilled=0.0)
    assert rising(gemm_s(m, n, k, 2.0, whole), gemm_s(m + step, n, k, 2.0, whole))
    assert rising(gemm_s(m, n, k, 2.0, whole), time)
    assert rising(time, gemm_s(m, n + step, k, 2.0, law))
    assert rising(time, gemm_s(m, n, k + step, 2.0, law))
    assert rising(gemm_s(m, n, k, 0.5, law), time)


@pytest.mark.parametrize(
    ("rows", "measured"), [(17, 1.33), (32, 1.21), (48, 1.08), (64, 1.07), (65, 1.37), (128, 1.16)]
)
def test_a_tile_that_is_not_full_costs_time_on_hopper(rows: int, measured: float) -> None:
    """Medians over wide FP8 GEMMs timed on an H200, beside 16 rows: aiconfigurator-core 0.12.0."""
    law = load_efficiency(load_gpu("h200_sxm")).gemm["fp8"].law
    wide = 10240.0, 8192.0, 1.0
    ratio = gemm_s(float(rows), *wide, law) / gemm_s(16.0, *wide, law)
    assert float(ratio) == pytest.approx(measured, rel=0.12)


@given(gemm_laws, tokens, widths, widths)
def test_a_gemm_is_never_under_the_roofline(law: GemmLaw, m: int, n: int, k: int) -> None:
    time = gemm_s(m, n, k, 2.0, law)
    assert rising(2.0 * m * n * k / float(law.peak_flops), time)
    assert rising(2.0 * n * k / float(law.bandwidth), time)


@given(decode_laws, st.integers(1, 512), st.integers(1, 131_072), more)
def test_more_context_or_sequences_never_decode_faster(
    law: AttentionDecodeLaw, batch: int, context: int, step: int
) -> None:
    time = attention_decode_s(batch, batch * context, 32, 128, 4096.0, law)
    assert rising(time, attention_decode_s(batch, batch * (context + step), 32, 128, 4096.0, law))
    assert rising(time, attention_decode_s(batch + step, batch * context, 32, 128, 4096.0, law))
    assert rising(time, attention_decode_s(batch, batch * context, 64, 128, 4096.0, law))


@given(prefill_laws, tokens, st.integers(0, 131_072), more)
def test_a_longer_prefill_is_never_faster(
    law: AttentionPrefillLaw, n: int, prefix: int, step: int
) -> None:
    def time(tokens: int, before: int, heads: int = 32, kv_bytes: float = 4096.0) -> Values:
        pairs = tokens * before + tokens**2 / 2
        return attention_prefill_s(pairs, tokens, heads, 128, kv_bytes, law)

    assert rising(time(n, prefix), time(n + step, prefix))
    assert rising(time(n, prefix), time(n, prefix + step))
    assert rising(time(n, prefix), time(n, prefix, heads=64))
    assert rising(time(n, prefix), time(n, prefix, kv_bytes=8192.0))


def test_a_lone_prompt_of_few_heads_waits_for_its_last_tile_on_blackwell() -> None:
    """Medians timed on a B200, 8 query heads and 1 KV head, us: aiconfigurator-core 0.12.0."""
    law = load_efficiency(load_gpu("b200_sxm")).attention_prefill["bf16"].law
    n = np.array([1024.0, 2048.0, 4096.0])
    time = np.asarray(attention_prefill_s(n**2 / 2, n, 8, 128, 512.0, law))
    assert time * 1e6 == pytest.approx([25.0, 37.6, 65.5], rel=0.15)


@given(moe_laws, experts, tokens, more, st.sampled_from([1, 2, 4, 8]))
def test_more_tokens_never_make_experts_faster(
    law: MoeLaw, layer: tuple[int, int], m: int, step: int, ep: int
) -> None:
    count, topk = layer
    times = [moe_s(x, 4096, 1536, topk, count, 1.0, law, ep=ep) for x in (m, m + step)]
    assert rising(*times)


@given(gemm_laws, moe_laws, decode_laws, tokens)
def test_twice_the_hardware_takes_half_the_time(
    gemm: GemmLaw, moe: MoeLaw, decode: AttentionDecodeLaw, m: int
) -> None:
    gemm = gemm._replace(t0_s=0.0, depth_s=0.0)
    twice = gemm._replace(peak_flops=2 * gemm.peak_flops, bandwidth=2 * gemm.bandwidth)
    assert gemm_s(m, 4096, 4096, 2.0, twice) == half(gemm_s(m, 4096, 4096, 2.0, gemm))
    moe = moe._replace(t0_s=0.0, ep_s=0.0)
    quick = moe._replace(peak_flops=2 * moe.peak_flops, bandwidth=2 * moe.bandwidth)
    slow = moe_s(m, 4096, 1536, 8, 128, 1.0, moe)
    assert moe_s(m, 4096, 1536, 8, 128, 1.0, quick) == half(slow)
    decode = decode._replace(t0_s=0.0)
    double = decode._replace(peak_flops=2 * decode.peak_flops, bandwidth=2 * decode.bandwidth)
    slow = attention_decode_s(m, 1024 * m, 32, 128, 4096.0, decode)
    assert attention_decode_s(m, 1024 * m, 32, 128, 4096.0, double) == half(slow)


def test_no_work_takes_no_time() -> None:
    h100 = load_efficiency(load_gpu("h100_sxm"))
    assert gemm_s(0.0, 4096, 4096, 2.0, h100.gemm["bf16"].law) == 0
    assert attention_decode_s(0.0, 0.0, 32, 128, 4096.0, h100.attention_decode["bf16"].law) == 0
    assert attention_prefill_s(0.0, 0.0, 32, 128, 4096, h100.attention_prefill["bf16"].law) == 0
    assert moe_s(0.0, 4096, 1536, 8, 128, 2.0, h100.moe["bf16"].law) == 0
    assert memory_bound_s(0.0, h100.glue.law) == 0


def test_llama_8b_decodes_above_the_bandwidth_floor_of_an_h100() -> None:
    """15.0 GB of weights (all but the embedding table) at 3.35 TB/s take 4.5 ms."""
    law = load_efficiency(load_gpu("h100_sxm")).gemm["bf16"].law
    n = np.array([6144.0, 4096.0, 28672.0, 4096.0])
    k = np.array([4096.0, 4096.0, 4096.0, 14336.0])
    layers = 32 * np.sum(gemm_s(1.0, n, k, 2.0, law))
    head = gemm_s(1.0, 128256.0, 4096.0, 2.0, law)
    assert 4.5e-3 < layers + head < 6.0e-3


def test_uniform_routing_touches_what_the_binomial_says() -> None:
    """E (1 - (1 - k / E)^m): 16 tokens, 8 of 128 experts each."""
    assert experts_touched(16, 8, 128, 1e9) == pytest.approx(1 - (1 - 8 / 128) ** 16, rel=1e-6)
    assert experts_touched(1, 8, 128, 1.5) == 8 / 128
    assert experts_touched(16, 8, 128, 1.5) < experts_touched(16, 8, 128, 1e9)


def test_a_single_rank_waits_for_nobody() -> None:
    assert busiest_rank(128.0, 1.0, 3.0) == 1
    assert busiest_rank(8.0, 8.0, 3.0) > busiest_rank(256.0, 8.0, 3.0)


def test_stacked_laws_answer_as_each_alone() -> None:
    laws = [load_efficiency(load_gpu(name)).gemm["bf16"].law for name in ("h100_sxm", "l40s")]
    m = np.array([1.0, 64.0, 4096.0])
    together = np.asarray(gemm_s(m, 4096.0, 4096.0, 2.0, stack(laws, trailing=1)))
    alone = np.stack([np.asarray(gemm_s(m, 4096.0, 4096.0, 2.0, law)) for law in laws])
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together, alone)


def test_bytes_move_at_the_attained_bandwidth() -> None:
    assert memory_bound_s(1e9, MemoryLaw(1e12, 0.5, 1e-6)) == pytest.approx(2.001e-3)
