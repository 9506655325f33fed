"""Ask vLLM's own scheduler for its schedules of random workloads; writes vllm_schedules.json.

    TINY_MODEL=... python drive_vllm.py vllm_schedules.json 350     in an environment with vLLM 0.33

The scheduler and KV cache manager are vLLM's; only the model is missing: every step takes the
time of the linear law of laws.py. TINY_MODEL is a folder with any small model's config.json.
Each row holds a workload, the number of steps, a digest of all of them, and the preemptions.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections import deque
from pathlib import Path
from typing import Any

Workload = dict[str, Any]


ENGINE = ("max_num_active_seqs", "long_prefill_token_threshold", "prefill_schedule_interval")
KINDS = ("plain", "priority", "threshold", "interval", "prefix", "window", "everything")
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


def scheduler(work: Workload) -> Any:
    """Build vLLM's scheduler with groups of full attention or a window, in blocks of 16."""
    import torch  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: PLC0415
    from vllm.v1.core.sched.scheduler import Scheduler  # noqa: PLC0415
    from vllm.v1.kv_cache_interface import (  # noqa: PLC0415
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
        SlidingWindowSpec,
    )
    from vllm.v1.structured_output import StructuredOutputManager  # noqa: PLC0415

    config = EngineArgs(
        model=os.environ["TINY_MODEL"],
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=2048,
        block_size=16,
        enable_prefix_caching=work["enable_prefix_caching"],
        scheduling_policy="priority" if "priority" in work else "fcfs",
        watermark=work.get("watermark", 0.0),
        **{key: work[key] for key in ENGINE if work.get(key) is not None},
        async_scheduling=False,  # set below: the CPU platform would turn it off
        max_num_seqs=work["max_num_seqs"],
        max_num_batched_tokens=work["max_num_batched_tokens"],
        enable_chunked_prefill=work["enable_chunked_prefill"],
    ).create_engine_config()
    config.scheduler_config.async_scheduling = work["async_scheduling"]
    config.cache_config.num_gpu_blocks = work["num_gpu_blocks"]
    shape = {"block_size": BLOCK, "num_kv_heads": 4, "head_size": 64, "dtype": torch.bfloat16}
    specs = [FullAttentionSpec(**shape) for _ in range(work.get("full_groups", 1))]
    if "sliding_window" in work:
        specs.append(SlidingWindowSpec(**shape, sliding_window=work["sliding_window"]))
    blocks = KVCacheConfig(
        num_blocks=work["num_gpu_blocks"],
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec([f"layer{i}"], s) for i, s in enumerate(specs)],
    )
    kind = AsyncScheduler if work["async_scheduling"] else Scheduler
    return kind(
        vllm_config=config,
        kv_cache_config=blocks,
        structured_output_manager=StructuredOutputManager(config),
        block_size=16,
        log_stats=True,
    )


def drive(work: Workload) -> Workload:  # noqa: C901, PLR0912, PLR0915 - one loop, read downwards
    """Serve a workload with vLLM's scheduler; two batches in flight when asynchronous."""
    from vllm.sampling_params import SamplingParams  # noqa: PLC0415
    from vllm.utils.hashing import get_hash_fn_by_name  # noqa: PLC0415
    from vllm.v1.core.kv_cache_utils import (  # noqa: PLC0415
        get_request_block_hasher,
        init_none_hash,
    )
    from vllm.v1.outputs import ModelRunnerOutput  # noqa: PLC0415
    from vllm.v1.request import Request  # noqa: PLC0415

    def answer(ids: list[str], tokens: list[list[int]]) -> Any:
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={name: i for i, name in enumerate(ids)},
            sampled_token_ids=tokens,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )

    server = scheduler(work)
    hasher = None
    if work["enable_prefix_caching"]:
        init_none_hash(get_hash_fn_by_name("sha256"))
        hasher = get_request_block_hasher(BLOCK, get_hash_fn_by_name("sha256"))
    requests = [
        Request(
            request_id=str(i),
            prompt_token_ids=prompt(work, i),
            sampling_params=SamplingParams(max_tokens=osl, ignore_eos=True),
            pooling_params=None,
            arrival_time=float(i),
            priority=work["priority"][i] if "priority" in work else 0,
            block_hasher=hasher,
        )
        for i, osl in enumerate(work["osl"])
    ]
    clients = work["concurrency"]
    coming = list(zip(work["arrival_s"], range(len(requests)), strict=True))
    if clients is not None:
        coming = [(0.0, i) for i in range(min(clients, len(requests)))]
    sent, now = len(coming), 0.0
    flight: deque[Workload] = deque()
    steps: list[tuple[int, int, int, float, int]] = []
    decoding: set[str] = set()
    while coming or flight or server.has_unfinished_requests():
        if len(flight) < 1 + work["async_scheduling"]:
            if not flight and not server.has_unfinished_requests():
                now = max(now, coming[0][0])
            decided = flight[0]["start"] if flight else now
            while coming and coming[0][0] <= decided:
                server.add_request(requests[coming.pop(0)[1]])
            out = server.schedule()
            decoding -= set(out.preempted_req_ids or ())
            if out.total_num_scheduled_tokens:
                d = c = p = n = 0
                w, sampled = 0.0, set()
                for name, count in out.num_scheduled_tokens.items():
                    request = server.requests[name]
                    before = request.num_computed_tokens - count
                    if name in decoding:
                        d, c = d + 1, c + before + 1
                        sampled.add(name)
                        continue
                    p, w = p + count, w + count * before + count * count / 2
                    if not request.is_prefill_chunk:
                        n += 1
                        sampled.add(name)
                        decoding.add(name)
                row = (d, c, p, w, n)
                steps.append(row)
                start = flight[-1]["end"] if flight else now
                end = start + step_s(row)
                flight.append({"out": out, "sampled": sampled, "start": start, "end": end})
                if len(flight) < 1 + work["async_scheduling"]:
                    continue
            elif not flight:
                server.update_from_output(out, answer([], []))
                now = max(now, coming[0][0])
                continue
        done = flight.popleft()
        now, ids = done["end"], list(done["out"].num_scheduled_tokens)
        before_update = set(server.requests)
        tokens = [[20_000_000 + int(name)] if name in done["sampled"] else [] for name in ids]
        server.update_from_output(done["out"], answer(ids, tokens))
        for name in before_update - set(server.requests):
            decoding.discard(name)
            if clients is not None and sent < len(requests):
                coming.append((now, sent))
                sent += 1
    preemptions = [request.num_preemptions for request in requests]
    return {
        **work,
        "max_in_flight": server.vllm_config.max_in_flight_tokens,
        "steps": len(steps),
        "digest": digest(steps),
        "preemptions": sum(preemptions),
        "rows": steps,
    }


if __name__ == "__main__":
    rows = [drive(work) for work in workloads(count=int(sys.argv[2]), seed=2026)]
    for row in rows:
        taken = row.pop("rows")
        if len(sys.argv) > 3:
            row["rows"] = taken
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
