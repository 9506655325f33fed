"""What vLLM 0.33's own model code and KV planner say of each model.

    python kv_oracle.py < builds.json > answers.json      in the environment that install.sh makes

A build is a model's config.json and a server's settings. vLLM builds the model without weights, on
the GPU that pretend_gpu.py pretends, asks each layer what it caches, and plans; the steps are those
of EngineCore._initialize_kv_caches. A build has cases: bytes of KV memory, max_model_len and
max_num_batched_tokens, each answered by a plan, or by vLLM's refusal.
"""

# mypy: disable-error-code="import-not-found, misc, no-any-return"
# ruff: noqa: PLC0415 - vLLM is imported after its GPU is pretended
from __future__ import annotations

import gc
import json
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pretend_gpu
from hf_config import write_config

Build = dict[str, Any]


def groups_of_ranks(build: Build, stage: int) -> None:
    """Set vLLM's process groups as they are on the first tensor rank of a pipeline stage."""
    from vllm.distributed import parallel_state as state

    def group(name: str, size: int, rank: int = 0) -> Any:
        ranks = SimpleNamespace(size=lambda: size, rank=lambda: rank, world_size=size)
        coordinator = object.__new__(state.GroupCoordinator)
        coordinator.__dict__.update(
            rank=rank, rank_in_group=rank, local_rank=rank, ranks=list(range(size)),
            world_size=size, unique_name=name, device_communicator=None, mq_broadcaster=None,
            cpu_group=ranks, device_group=ranks, use_device_communicator=False,
        )  # fmt: skip
        return coordinator

    tp, pp = build["tensor_parallel_size"], build["pipeline_parallel_size"]
    dcp = build["decode_context_parallel_size"]
    state._WORLD = group("world", tp * pp)
    state._TP = state._ETP = group("tp", tp)
    state._PP = group("pp", pp, stage)
    state._DCP, state._EP = group("dcp", dcp), group("ep", tp)
    state._DP, state._PCP, state._NODE_COUNT = group("dp", 1), group("pcp", 1), 1


def engine_config(build: Build, folder: Path) -> Any:
    """Resolve the settings as ``vllm serve`` does."""
    from vllm.engine.arg_utils import EngineArgs

    settings = dict(build["settings"])
    return EngineArgs(
        model=str(folder),
        load_format="dummy",
        dtype="bfloat16",
        skip_tokenizer_init=True,
        trust_remote_code=False,
        tensor_parallel_size=build["tensor_parallel_size"],
        pipeline_parallel_size=build["pipeline_parallel_size"],
        decode_context_parallel_size=build["decode_context_parallel_size"],
        **settings,
    ).create_engine_config()


def layer_specs(config: Any) -> dict[str, Any]:
    """Build the model of one rank without weights and ask its layers what they cache."""
    import torch
    from torch.overrides import TorchFunctionMode
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    class Nowhere(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if kwargs.get("device") is not None:
                kwargs["device"] = "meta"
            return func(*args, **kwargs)

    torch.set_default_dtype(torch.bfloat16)
    with set_current_vllm_config(config), Nowhere(), torch.device("meta"):
        model = initialize_model(config)
        if config.speculative_config and config.speculative_config.use_eagle():
            draft = config.speculative_config.apply_draft_overrides(config)
            initialize_model(draft, model_config=config.speculative_config.draft_model_config)
    from vllm.platforms import current_platform

    current_platform.update_block_size_for_backend(config)
    del model
    return get_kv_cache_spec(config)


def plan(config: Any, specs: list[dict[str, Any]], case: list[int]) -> dict[str, Any]:
    """Plan one case as EngineCore does, or return vLLM's refusal."""
    from vllm.v1.core import kv_cache_planning as planning
    from vllm.v1.core.kv_cache_config_builder import get_kv_cache_config_builder
    from vllm.v1.core.kv_cache_utils import (
        generate_scheduler_kv_cache_config,
        get_kv_cache_capacity,
    )
    from vllm.v1.kv_cache_interface import MambaSpec, iter_layer_specs

    kv_bytes, longest, budget = case
    config.model_config.max_model_len = config.model_config.original_max_model_len = longest
    config.scheduler_config.max_num_batched_tokens = budget
    copies = [dict(rank) for rank in specs]
    groups = planning.get_global_kv_cache_groups(config, copies)
    builder = get_kv_cache_config_builder(config)
    shares = [planning._project_kv_cache_groups_to_worker(groups, rank) for rank in copies]
    per_block = [
        planning._pool_bytes_per_block_from_builder(builder, config, held) for held in shares
    ]
    answer: dict[str, Any] = {
        "groups": len(groups),
        "block_sizes": sorted(
            {
                spec.block_size
                for group in groups
                for spec in iter_layer_specs(group.kv_cache_spec)
                if not isinstance(spec, MambaSpec)
            }
        ),
        "stage_bytes": per_block,
    }
    try:
        plans = planning.get_kv_cache_configs(config, copies, [kv_bytes] * len(copies), groups)
    except ValueError as refusal:
        if "To serve at least one request" not in str(refusal):
            raise
        longest = min(
            planning._estimate_max_model_len_from_groups(builder, config, held, kv_bytes - block)
            for held, block in zip(shares, per_block, strict=True)
        )
        return answer | {"fits": False, "longest": longest}
    scheduler = generate_scheduler_kv_cache_config(plans)
    tokens, concurrency = get_kv_cache_capacity(config, scheduler)
    return answer | {
        "fits": True,
        "num_blocks": scheduler.num_blocks,
        "tokens": tokens,
        "concurrency": concurrency,
    }


def answer(build: Build, folder: Path) -> dict[str, Any]:
    """Answer all cases of a build; an error says why vLLM would not start at all."""
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
    from vllm.v1.worker.worker_base import WorkerBase

    write_config(build["config"], folder)
    specs = []
    groups_of_ranks(build, 0)
    for stage in range(build["pipeline_parallel_size"]):
        groups_of_ranks(build, stage)
        config = engine_config(build, folder)
        specs.append(layer_specs(config))
    register_all_kvcache_specs(config)
    worker = SimpleNamespace(vllm_config=config)
    layouts = WorkerBase.get_supported_kv_cache_layouts(worker)
    every = [spec for rank in specs for spec in rank.values()]
    layout = resolve_kv_cache_layout(config, [layouts] * len(specs), every)
    return {
        "block_size": config.cache_config.block_size,
        "layout": layout.name,
        "specs": sorted(
            {
                f"{type(s).__name__} {s.block_size} {s.page_size_bytes}"
                for r in specs
                for s in r.values()
            }
        ),
        "cases": [plan(config, specs, case) for case in build["cases"]],
    }


def main() -> None:
    """Read builds, write answers, one line each as they come."""
    question = json.load(sys.stdin)
    gpu = question["gpu"]
    pretend_gpu.platform(gpu["capability"], gpu["name"], gpu["memory_bytes"])
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        for number, build in enumerate(question["builds"]):
            try:
                said = answer(build, Path(folder) / build["model"])
            except Exception as error:  # noqa: BLE001 - whatever vLLM will not start with
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                said = {"error": f"{type(error).__name__}: {error}"[:1000], "where": where}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
            if number % 16 == 0:
                gc.collect()
                gc.freeze()  # modules imported meanwhile stay


if __name__ == "__main__":
    main()
