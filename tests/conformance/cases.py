"""What is compared: every model on an H100, and settings and cards on models of every kind."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcalc.catalog.formats import load_kv_format
from fitcalc.catalog.model import TensorKind, load_model
from fitcalc.inputs.engine import EngineArgs
from fitcalc.units import GIB

MODELS = Path(__file__).parents[2] / "models_db" / "models"
Case = tuple[int, int, int]
CASES: tuple[Case, ...] = (
    (int(50 * GIB), 131_072, 8192),
    (int(50 * GIB), 8192, 8192),
    (int(20 * GIB) + 12_345, 32_775, 2048),
    (int(5 * GIB), 4097, 16_384),
    (int(1.5 * GIB), 131_072, 8192),
    (int(120 * GIB), 1_000_000, 16_384),
)
"""Bytes of KV memory on a rank, max_model_len, max_num_batched_tokens."""
MAIN = (0, 2, 4)
"""Those asked of every model."""
KV = ("bf16", "fp8")
SAMPLE = (
    "deepseek-v3", "deepseek-v3.2", "gemma-2-9b-it", "gemma-3-27b-it", "gemma-4-31b-it",
    "gemma-4-e4b-it", "gpt-oss-120b", "granite-4.0-h-small", "jamba-v0.1", "kimi-k2.5",
    "llama-3.1-70b-instruct", "llama-4-scout-17b-16e-instruct", "mimo-v2-flash",
    "mistral-7b-v0.1", "nemotron-3-nano-30b-a3b", "nemotron-nano-9b-v2", "olmo-3-7b-instruct",
    "qwen3-30b-a3b", "qwen3-next-80b-a3b-instruct", "qwen3.5-27b",
)  # fmt: skip
"""Models whose layers differ in kind."""
CARDS = ("a100_sxm_80gb", "b200_sxm")
SETTINGS = (
    EngineArgs(pipeline_parallel_size=2),
    EngineArgs(pipeline_parallel_size=4, async_scheduling=False),
    EngineArgs(pipeline_parallel_size=4, enable_prefix_caching=False),
    EngineArgs(tensor_parallel_size=2, decode_context_parallel_size=2),
    EngineArgs(tensor_parallel_size=16, decode_context_parallel_size=2),
    EngineArgs(enable_prefix_caching=False),
    EngineArgs(async_scheduling=False),
    EngineArgs(block_size=64),
    EngineArgs(num_speculative_tokens=1),
    EngineArgs(num_speculative_tokens=3),
)


@dataclass(frozen=True)
class Build:
    """One model on one server."""

    model: str
    kv: str
    engine: EngineArgs
    gpu: str = "h100_sxm"

    @property
    def cases(self) -> tuple[Case, ...]:
        """Cases to compare: all on the sample."""
        return CASES if self.model in SAMPLE else tuple(CASES[i] for i in MAIN)

    @property
    def name(self) -> str:
        """How a difference is named."""
        fields = type(self.engine).model_fields
        changed = [f"{k}={v}" for k, v in self.engine if v != fields[k].default]
        return " ".join([self.model, self.gpu, self.kv, *changed])


def builds() -> Iterator[Build]:
    """Every model x KV format x tensor parallel size; cards and settings on the sample."""
    for model in sorted(path.stem for path in MODELS.glob("*.toml")):
        for kv in KV:
            for tp in (1, 2, 4, 8):
                yield Build(model, kv, EngineArgs(tensor_parallel_size=tp))
    for model in SAMPLE:
        for kv in KV:
            for engine in SETTINGS:
                yield Build(model, kv, engine)
            for gpu in CARDS:
                yield Build(model, kv, EngineArgs(), gpu)


def config_of(model: str) -> dict[str, Any]:
    """Read the keys of config.json, of a checkpoint in 16 bits."""
    config: dict[str, Any] = tomllib.loads((MODELS / f"{model}.toml").read_text())["config"]
    for part in (config, *(v for v in config.values() if isinstance(v, dict))):
        part.pop("quantization_config", None)
    return config


def architecture(model: str) -> str:
    """Class by which vLLM loads the model."""
    return str(config_of(model)["architectures"][0])


def model_types() -> dict[str, str]:
    """Return the model_type of each architecture, for a table that leaves it out."""
    configs = [config_of(path.stem) for path in MODELS.glob("*.toml")]
    return {c["architectures"][0]: c["model_type"] for c in configs if "model_type" in c}


def question(build: Build, types: dict[str, str]) -> dict[str, Any]:
    """Put a build as kv_oracle.py reads it."""
    engine, config = build.engine, config_of(build.model)
    settings: dict[str, Any] = {"kv_cache_dtype": load_kv_format(build.kv).vllm_kv_cache_dtype}
    for key in ("enable_prefix_caching", "async_scheduling", "block_size"):
        if getattr(engine, key) is not None:
            settings[key] = getattr(engine, key)
    if engine.num_speculative_tokens:
        drafts = any(t.kind is TensorKind.MTP for t in load_model(build.model).outer)
        settings["speculative_config"] = {
            "method": "mtp" if drafts else "ngram",
            "num_speculative_tokens": engine.num_speculative_tokens,
        }
    return {
        "model": build.model,
        "config": {"model_type": types[config["architectures"][0]]} | config,
        "tensor_parallel_size": engine.tensor_parallel_size,
        "pipeline_parallel_size": engine.pipeline_parallel_size,
        "decode_context_parallel_size": engine.decode_context_parallel_size,
        "settings": settings,
        "cases": build.cases,
    }
