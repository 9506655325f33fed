"""Prefix caching: hits by share and by hash, and the published hit rates of real traces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace
from fitcalc.simulation.arrivals import OpenLoop
from fitcalc.simulation.blocks import BlockRule
from fitcalc.simulation.cache import CachedBlockPool
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.settings import SchedulerSettings
from tests.simulation.laws import LinearLaw

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[3] / "shared"))
MIXED = (BlockRule(16), BlockRule.sliding(32, 40, 192, 2))
SERVER = SchedulerSettings(16, 512, 400, block_size=16)


def hashed(*prompts: tuple[int, ...], gap_s: float = 100.0) -> Trace:
    """Prompts of whole hashes of 64 tokens, far apart."""
    count = len(prompts)
    return Trace(
        arrival_s=np.arange(count, dtype=np.float64) * gap_s,
        isl=np.array([64 * len(p) for p in prompts]),
        osl=np.full(count, 5),
        hash_ids=prompts,
        hash_block_tokens=64,
    )


def cached(trace: Trace, server: SchedulerSettings = SERVER) -> list[int]:
    hits: list[int] = simulate_requests(LinearLaw(), trace, server).cached_tokens.tolist()
    return hits


def test_leading_hashes_hit_and_the_last_token_is_computed() -> None:
    # the last request repeats a whole prompt: its last hash is computed again for its logits
    assert cached(hashed((1, 2, 3), (1, 2, 4), (9, 2, 3), (1, 2, 3))) == [0, 128, 0, 128]


def test_without_prefix_caching_nothing_hits() -> None:
    off = replace(SERVER, enable_prefix_caching=False)
    assert cached(hashed((1, 2, 3), (1, 2, 3)), off) == [0, 0]
    trace = Trace(np.zeros(1), np.array([1000]), np.array([2]))
    seen = simulate_requests(LinearLaw(), trace, replace(off, num_gpu_blocks=99), prefix_hit=0.5)
    assert seen.cached_tokens.tolist() == [0]


def test_windows_cache_a_shared_start_once_it_was_missed() -> None:
    # a window of 40 tokens: only the two blocks before each prompt's end are kept at first
    server = replace(SERVER, block_rules=(BlockRule(16), BlockRule.sliding(16, 40, 1024)))
    prompts = (1, 2, 3, 4), (1, 2, 5, 6), (1, 2, 7, 8), (1, 2, 3, 4)
    assert cached(hashed(*prompts), server) == [0, 0, 128, 240]


def test_running_requests_share_blocks() -> None:
    trace = hashed((1, 2, 3), (1, 2, 4), gap_s=0.0)
    seen = simulate_requests(LinearLaw(), trace, SERVER)
    assert seen.cached_tokens.tolist() == [0, 128]
    # 4 blocks a hash and 1 for the output: 13 and 13, less the 8 that both hold
    assert seen.kv_usage_peak * 399 == pytest.approx(13 + 13 - 8)


def test_oldest_prefix_is_forgotten_first_and_its_end_before_its_start() -> None:
    # 25 usable blocks: prompts of 12 blocks; the third drives out parts of the first
    small = SchedulerSettings(16, 512, 26, block_size=16)
    # free for the third: 25 - 24 cached = 1; it takes 13, so 3 of the first's hashes go, tail first
    assert cached(hashed((1, 2, 3), (4, 5, 6), (7, 8, 9), (4, 5, 6)), small)[3] == 128
    assert cached(hashed((1, 2, 3), (4, 5, 6), (7, 8), (1, 2, 3)), small)[3] == 64


def test_a_block_must_divide_the_hash() -> None:
    with pytest.raises(InvalidValue, match="block_size"):
        CachedBlockPool(100, 48, hashed((1,)))


@pytest.mark.parametrize(
    ("name", "share"), [("mooncake_conversation", 0.374), ("mooncake_synthetic", 0.651)]
)
def test_hit_share_of_an_endless_cache(name: str, share: float) -> None:
    path = SHARED / "traces" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} beside the checkout")
    trace = Trace.read(path)
    fast = LinearLaw(base=1e-4, decode=1e-7, token=1e-8)
    seen = simulate_requests(fast, trace, SchedulerSettings(4096, 65_536, 10_000_000))
    assert seen.cached_tokens.sum() / trace.isl.sum() == pytest.approx(share, abs=0.012)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=20),
    st.integers(23, 60),
    st.booleans(),
    st.sampled_from([0.0, 0.05, 100.0]),
    st.sampled_from([(), MIXED, MIXED[1:]]),
)
def test_no_block_is_lost(
    prompts: list[list[int]],
    blocks: int,
    asynchronous: bool,  # noqa: FBT001
    gap_s: float,
    rules: tuple[BlockRule, ...],
) -> None:
    trace = hashed(*map(tuple, prompts), gap_s=gap_s)
    server = SchedulerSettings(
        8,
        96,
        3 * blocks if rules else blocks,
        block_size=16,
        async_scheduling=asynchronous,
        block_rules=rules,
    )
    loop = OpenLoop()
    for request, time_s in enumerate(trace.arrival_s.tolist()):
        loop.push(request, time_s)
    engine = Engine(LinearLaw(), trace, server, loop)
    engine.run()
    engine.diary.close()
    assert 0 < engine.diary.blocks_peak <= engine.usable_blocks
    engine.scheduler.free_ended(all_of_them=True)
    assert engine._pool.free == engine.usable_blocks


def test_a_share_of_the_prompt_is_not_computed() -> None:
    trace = Trace(np.zeros(1), np.array([1000]), np.array([2]))
    server = SchedulerSettings(4, 2048, 1000)
    plain = simulate_requests(LinearLaw(), trace, server)
    hit = simulate_requests(LinearLaw(), trace, server, prefix_hit=0.5)
    assert hit.cached_tokens.tolist() == [496]  # 31 whole blocks of 16
    saved = 4e-5 * 496 + 1e-9 * 496 * 248
    assert plain.ttft_s[0] - hit.ttft_s[0] == pytest.approx(saved)
    assert hit.kv_usage_peak == plain.kv_usage_peak


def test_a_shared_prefix_is_held_once() -> None:
    trace = Trace(np.zeros(8), np.full(8, 320), np.full(8, 16))
    server = SchedulerSettings(8, 4096, 1000)
    shared = simulate_requests(LinearLaw(), trace, server, prefix_tokens=300)
    assert shared.cached_tokens.tolist() == [288] * 8
    # 18 blocks once; 335 tokens are 21 blocks each, 3 of their own
    assert shared.kv_usage_peak * 999 == pytest.approx(18 + 8 * 3)
