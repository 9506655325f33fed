"""A model's config.json, from the keys that models_db keeps."""

# mypy: disable-error-code="import-not-found"
# ruff: noqa: PLC0415 - read once vLLM's GPU is pretended
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILLERS = {
    "hidden_act": "silu",
    "layernorm_epsilon": 1e-5,
    "n_group": 1,
    "norm_topk_prob": True,
    "original_rope": True,
    "projector_hidden_act": "gelu",
    "rms_norm_eps": 1e-5,
    "rotary_dim": 64,
    "scoring_func": "sigmoid",
    "topk_group": 1,
    "vision_feature_layer": -1,
}
"""Keys that decide no size, which the tables leave out and vLLM's model code reads."""
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}


def write_config(config: dict[str, Any], folder: Path) -> None:
    """Write config.json as Hugging Face has it, with values for keys that decide no size."""
    from transformers import AutoConfig, PretrainedConfig, Qwen2Config
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    config = dict(config)
    if config["architectures"] == ["Mistral3ForConditionalGeneration"]:
        text = config.get("text_config", config).items()
        config = {
            "architectures": config["architectures"],
            "model_type": "mistral3",
            "vision_config": config["vision_config"],
            "text_config": {"sliding_window": None}
            | {k: v for k, v in text if not isinstance(v, dict | list)}
            | {"model_type": "mistral"},
        }
    kind = config["model_type"]
    if kind == "falcon":  # derived there: hidden_size / num_attention_heads
        config.pop("head_dim", None)
    if kind == "mistral":  # null in config.json, which a table cannot say
        config.setdefault("sliding_window", None)
    if kind == "chatglm":
        config["multi_query_attention"] = True
        config["multi_query_group_num"] = config["num_key_value_heads"]
        config["kv_channels"] = config["head_dim"]
    if "sliding_window" in config:  # MiMo-V2 names it twice
        config.setdefault("sliding_window_size", config["sliding_window"])
    if kind not in _CONFIG_REGISTRY:
        try:
            AutoConfig.for_model(kind)
        except ValueError:
            base = Qwen2Config if kind == "mimo" else PretrainedConfig
            ours = type("Config", (base,), {"model_type": kind} | ROPE)
            AutoConfig.register(kind, ours)
    if "text_config" in config:
        config["text_config"] = FILLERS | config["text_config"]
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(FILLERS | config))
