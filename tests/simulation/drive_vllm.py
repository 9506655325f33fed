"""Ask vLLM's own scheduler for its schedules of random workloads; writes vllm_schedules.json.

    TINY_MODEL=... python -m tests.simulation.drive_vllm vllm_schedules.json 350 150

in an environment with vLLM 0.33.
The scheduler and KV cache manager are vLLM's; only the model is missing: every step takes the
time of the linear law of laws.py. TINY_MODEL is a folder with any small model's config.json.
Each row holds a workload, the number of steps, a digest of all of them, and the preemptions.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
import math
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

from tests.simulation.workloads import (
    Workload,
    digest,
    groups_of,
    hybrid_workloads,
    prompt,
    step_s,
    workloads,
)  # fmt: skip

ENGINE = ("max_num_active_seqs", "long_prefill_token_threshold", "prefill_schedule_interval")


def scheduler(work: Workload) -> Any:
    """Build vLLM's scheduler over the workload's kinds of layers."""
    import torch  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: PLC0415
    from vllm.v1.core.sched.scheduler import Scheduler  # noqa: PLC0415
    from vllm.v1.kv_cache_interface import (  # noqa: PLC0415
        ChunkedLocalAttentionSpec,
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
    specs: list[Any] = []
    for kind, reach, size, count in groups_of(work):
        shape = {"block_size": size, "num_kv_heads": 4, "head_size": 64, "dtype": torch.bfloat16}
        for _ in range(count):
            if kind == "window":
                specs.append(SlidingWindowSpec(**shape, sliding_window=reach))
            elif kind == "chunk":
                specs.append(ChunkedLocalAttentionSpec(**shape, attention_chunk_size=reach))
            else:
                specs.append(FullAttentionSpec(**shape))
    blocks = KVCacheConfig(
        num_blocks=work["num_gpu_blocks"],
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec([f"layer{i}"], s) for i, s in enumerate(specs)],
        prefix_cache_retention_interval=config.cache_config.prefix_cache_retention_interval,
    )
    sizes = [spec.block_size for spec in specs]
    return (AsyncScheduler if work["async_scheduling"] else Scheduler)(
        vllm_config=config,
        kv_cache_config=blocks,
        structured_output_manager=StructuredOutputManager(config),
        block_size=math.lcm(*sizes),
        hash_block_size=math.gcd(*sizes),
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
        size = math.gcd(*(size for _, _, size, _ in groups_of(work)))
        hasher = get_request_block_hasher(size, get_hash_fn_by_name("sha256"))
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
    chosen = workloads(count=int(sys.argv[2]), seed=2026)
    chosen += hybrid_workloads(count=int(sys.argv[3]), seed=2027)
    rows = [drive(work) for work in chosen]
    for row in rows:
        taken = row.pop("rows")
        if len(sys.argv) > 4:
            row["rows"] = taken
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
