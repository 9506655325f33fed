"""Ask vLLM's own scheduler for its schedules of random workloads; writes vllm_schedules.json.

    TINY_MODEL=... python drive_vllm.py vllm_schedules.json      in an environment with vLLM 0.33

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


def workloads(count: int, seed: int) -> list[Workload]:
    """Small servers under every kind of stress: few seats, few blocks, small budgets."""
    draw = random.Random(seed)  # noqa: S311
    drawn: list[Workload] = []
    for number in range(count):
        requests, chunked = draw.randrange(2, 60), draw.random() < 0.8
        longest_in, longest_out = draw.choice([60, 300, 900]), draw.choice([8, 60, 300])
        isl = [draw.randrange(1, longest_in) for _ in range(requests)]
        osl = [draw.randrange(1, longest_out) for _ in range(requests)]
        needed = max(-(-(a + b) // 16) for a, b in zip(isl, osl, strict=True))
        pace, arrivals = draw.choice([1000.0, 50.0, 5.0]), [0.0]
        while len(arrivals) < requests:
            arrivals.append(round(arrivals[-1] + draw.expovariate(pace), 6))
        drawn.append(
            {
                "isl": isl,
                "osl": osl,
                "arrival_s": arrivals,
                "concurrency": draw.choice([None, draw.randrange(1, 40)]),
                "max_num_seqs": draw.choice([2, 8, 32]),
                "max_num_batched_tokens": draw.choice([64, 256, 512]) if chunked else 2048,
                "num_gpu_blocks": int(needed * draw.choice([1.0, 1.5, 4, 10])) + 3,
                "enable_chunked_prefill": chunked,
                "async_scheduling": number % 2 == 1,
            }
        )
    return drawn


def digest(steps: list[tuple[int, int, int, float, int]]) -> str:
    """Short hash of all steps: decodes, context, prompt tokens, their work twice, whole prompts."""
    rows = [(int(d), int(c), int(p), int(2 * w), int(n)) for d, c, p, w, n in steps]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def step_s(row: tuple[int, int, int, float, int]) -> float:
    """Time of a step by the linear law of laws.py. [s]"""
    d, c, p, w, n = row
    return 6e-3 + 2e-5 * d + 2e-8 * c + 4e-5 * p + 1e-9 * w + 1e-4 * n


def scheduler(work: Workload) -> Any:
    """Build vLLM's scheduler with one full-attention group of blocks of 16."""
    import torch  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: PLC0415
    from vllm.v1.core.sched.scheduler import Scheduler  # noqa: PLC0415
    from vllm.v1.kv_cache_interface import (  # noqa: PLC0415
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
    )
    from vllm.v1.structured_output import StructuredOutputManager  # noqa: PLC0415

    config = EngineArgs(
        model=os.environ["TINY_MODEL"],
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=2048,
        block_size=16,
        enable_prefix_caching=False,
        async_scheduling=False,  # set below: the CPU platform would turn it off
        max_num_seqs=work["max_num_seqs"],
        max_num_batched_tokens=work["max_num_batched_tokens"],
        enable_chunked_prefill=work["enable_chunked_prefill"],
    ).create_engine_config()
    config.scheduler_config.async_scheduling = work["async_scheduling"]
    config.cache_config.num_gpu_blocks = work["num_gpu_blocks"]
    spec = FullAttentionSpec(block_size=16, num_kv_heads=4, head_size=64, dtype=torch.bfloat16)
    blocks = KVCacheConfig(
        num_blocks=work["num_gpu_blocks"],
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
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
    requests = [
        Request(
            request_id=str(i),
            prompt_token_ids=[(i * 7919 + j * 31) % 30000 + 5 for j in range(isl)],
            sampling_params=SamplingParams(max_tokens=osl, ignore_eos=True),
            pooling_params=None,
            arrival_time=float(i),
        )
        for i, (isl, osl) in enumerate(zip(work["isl"], work["osl"], strict=True))
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
        tokens = [[7] if name in done["sampled"] else [] for name in ids]
        server.update_from_output(done["out"], answer(ids, tokens))
        for name in before_update - set(server.requests):
            decoding.discard(name)
            if clients is not None and sent < len(requests):
                coming.append((now, sent))
                sent += 1
    preemptions = [request.num_preemptions for request in requests]
    return {**work, "steps": len(steps), "digest": digest(steps), "preemptions": sum(preemptions)}


if __name__ == "__main__":
    rows = [drive(work) for work in workloads(count=100, seed=2026)]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
