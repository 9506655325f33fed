"""Random workloads that put a scheduler under every kind of stress, and what is told of a run."""

from __future__ import annotations

import hashlib
import random
from typing import Any

Workload = dict[str, Any]

KINDS = ("plain", "priority", "threshold", "interval", "prefix", "window", "everything")
HYBRIDS = ("window", "windows", "three kinds", "block sizes", "chunks")
BLOCK = 16


def workloads(count: int, seed: int) -> list[Workload]:
    """Small servers under every kind of stress: few seats, few blocks, small budgets."""
    draw = random.Random(seed)  # noqa: S311
    return [_workload(draw, number) for number in range(count)]


def _workload(draw: random.Random, number: int) -> Workload:
    kind = KINDS[number % len(KINDS)]
    requests, chunked = draw.randrange(2, 60), draw.random() < 0.8
    longest_in, longest_out = draw.choice([60, 300, 900]), draw.choice([8, 60, 300])
    isl = [draw.randrange(1, longest_in) for _ in range(requests)]
    osl = [draw.randrange(1, longest_out) for _ in range(requests)]
    needed = max(-(-(a + b) // BLOCK) for a, b in zip(isl, osl, strict=True))
    pace, arrivals = draw.choice([1000.0, 50.0, 5.0]), [0.0]
    while len(arrivals) < requests:
        arrivals.append(round(arrivals[-1] + draw.expovariate(pace), 6))
    seats = draw.choice([2, 8, 32])
    work: Workload = {
        "kind": kind,
        "isl": isl,
        "osl": osl,
        "arrival_s": arrivals,
        "concurrency": draw.choice([None, draw.randrange(1, 40)]),
        "max_num_seqs": seats,
        "max_num_batched_tokens": draw.choice([seats, 64, 256, 512]) if chunked else 2048,
        "num_gpu_blocks": int(needed * draw.choice([1.0, 1.5, 4, 10])) + 3,
        "enable_chunked_prefill": chunked,
        "async_scheduling": number // len(KINDS) % 2 == 1,
        "enable_prefix_caching": False,
    }
    whole = kind == "everything"
    if kind == "priority" or (whole and draw.random() < 0.5):
        work["priority"] = [draw.randrange(3) for _ in range(requests)]
    if kind == "threshold" or (whole and draw.random() < 0.5):
        work["long_prefill_token_threshold"] = draw.choice([8, 40, 200])
    if kind == "interval" or (whole and draw.random() < 0.5):
        work["prefill_schedule_interval"] = draw.choice([2, 4, 16])
    if whole:
        work["max_num_active_seqs"] = draw.choice([None, max(1, seats // 2)])
        work["watermark"] = draw.choice([0.0, 0.05])
    if kind == "prefix" or (whole and draw.random() < 0.5):
        work["enable_prefix_caching"] = True
        families = draw.choice([1, 3, 10])
        work["hash_ids"] = [_prompt(draw, i, n // BLOCK, families) for i, n in enumerate(isl)]
    if kind == "window":
        work["sliding_window"] = draw.choice([17, 64, 200])
        work["full_groups"] = draw.choice([0, 1, 2])
        work["num_gpu_blocks"] *= 1 + work["full_groups"]
    if needed * work.get("full_groups", 0) + needed >= work["num_gpu_blocks"] - 4:
        work["watermark"] = 0.0  # or the longest could never join
    return work


def hybrid_workloads(count: int, seed: int) -> list[Workload]:
    """The same with several groups of layers, and prompts that start alike."""
    draw = random.Random(seed)  # noqa: S311
    return [_hybrid(draw, number) for number in range(count)]


def _hybrid(draw: random.Random, number: int) -> Workload:
    kind = HYBRIDS[number % len(HYBRIDS)]
    work = _workload(draw, 6 + len(KINDS) * (number // len(HYBRIDS)))
    window = draw.choice([17, 64, 200])
    full, size = ["full", 0, BLOCK, draw.choice([1, 1, 2])], draw.choice([1, 2]) * BLOCK
    windows = ["window", window, size, draw.choice([1, 1, 3])]
    groups = [full, ["window", window, BLOCK, draw.choice([1, 1, 3])]]
    if kind == "windows":
        groups = [windows] + [["window", 90, BLOCK, 1]] * draw.randrange(2)
    elif kind == "three kinds":
        groups = [full, windows, ["window", 90, BLOCK, 1]]
    elif kind == "block sizes":
        full[2], windows[2] = draw.choice([(16, 32), (32, 16), (48, 32)])
        groups = [full, windows]
    elif kind == "chunks":
        groups = [full, ["chunk", draw.choice([32, 64, 256]), BLOCK, draw.choice([1, 3])]]
    families = draw.choice([1, 3, 10])
    lengths = list(enumerate(work["isl"]))
    longest = max(a + b for a, b in zip(work["isl"], work["osl"], strict=True))
    needed = sum(count * -(-longest // size) for _, _, size, count in groups)
    return work | {
        "kind": kind,
        "groups": groups,
        "enable_prefix_caching": True,
        "hash_ids": [_prompt(draw, i, n // BLOCK, families) for i, n in lengths],
        "num_gpu_blocks": int(needed * draw.choice([1.0, 1.3, 2, 5])) + 5,
        "watermark": 0.0,
    }


def _prompt(draw: random.Random, number: int, blocks: int, families: int) -> list[int]:
    """Ids of a prompt's blocks: it leaves its family's text somewhere; ids are never reused."""
    family, shared = draw.randrange(families), draw.randrange(blocks + 1)
    return [family * 1000 + i if i < shared else 100_000 + number * 1000 + i for i in range(blocks)]


def prompt(work: Workload, number: int) -> list[int]:
    """Token ids of a request's prompt."""
    ids = work.get("hash_ids")
    if ids is None:
        return [(number * 7919 + j * 31) % 30000 + 5 for j in range(work["isl"][number])]
    tokens = [key * BLOCK + j for key in ids[number] for j in range(BLOCK)]
    rest = work["isl"][number] - len(tokens)
    return tokens + [10_000_000 + number * BLOCK + j for j in range(rest)]


def digest(steps: list[tuple[int, int, int, float, int]]) -> str:
    """Short hash of all steps: decodes, context, prompt tokens, their work twice, whole prompts."""
    rows = [(int(d), int(c), int(p), int(2 * w), int(n)) for d, c, p, w, n in steps]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def step_s(row: tuple[int, int, int, float, int]) -> float:
    """Time of a step by the linear law of laws.py. [s]"""
    d, c, p, w, n = row
    return 6e-3 + 2e-5 * d + 2e-8 * c + 4e-5 * p + 1e-9 * w + 1e-4 * n


def groups_of(work: Workload) -> list[tuple[str, int, int, int]]:
    """Kinds of layers: what they see, how far [tokens], their block [tokens], equal groups [1]."""
    if "groups" in work:
        return [tuple(group) for group in work["groups"]]
    full = work.get("full_groups", 1)
    groups = [("full", 0, BLOCK, full)] if full else []
    if "sliding_window" in work:
        groups.append(("window", work["sliding_window"], BLOCK, 1))
    return groups
