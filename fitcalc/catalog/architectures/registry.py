"""Which architecture is built how: the names of a config's ``architectures``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial

from fitcalc.catalog.architectures import blocks, dense, hybrid, mixed, mla, moe, mtp, vision
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import Layer

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build a model: its layers, and what stands outside them.

    ``tied`` is the default of tie_word_embeddings; ``final_norm`` counts vectors of the last norm.
    """

    layers: Callable[[Config], Layers]
    tied: bool = False
    final_norm: int = 1
    vision: Callable[[Config, Config], blocks.Tensors] | None = None
    mtp: Callable[[Config, Layers], blocks.Tensors] | None = None
    beside: Callable[[Config], blocks.Tensors] | None = None


def _dense(name: str) -> Architecture:
    style = dense.STYLES[name]
    return Architecture(
        partial(dense.dense_layers, style=style), style.tied, style.final_norm,
        mtp=mtp.bare if name == "MiMoForCausalLM" else None,
    )  # fmt: skip


def _moe(name: str) -> Architecture:
    style = moe.STYLES[name]
    return Architecture(
        partial(moe.moe_layers, style=style), style.attention.tied, style.attention.final_norm,
        mtp=mtp.glm if name == "Glm4MoeForCausalLM" else None,
    )  # fmt: skip


QWEN_NEXT = Architecture(hybrid.qwen_next_layers, mtp=mtp.qwen)
DEEPSEEK = Architecture(mla.deepseek_layers, mtp=mtp.glm)
ARCHITECTURES: dict[str, Architecture] = {
    **{name: _dense(name) for name in dense.STYLES},
    **{name: _moe(name) for name in moe.STYLES},
    "Llama4ForCausalLM": Architecture(moe.llama4_layers),
    "DeepseekV2ForCausalLM": DEEPSEEK,
    "DeepseekV3ForCausalLM": DEEPSEEK,
    "DeepseekV32ForCausalLM": DEEPSEEK,
    "Glm4MoeLiteForCausalLM": DEEPSEEK,
    "GlmMoeDsaForCausalLM": Architecture(mla.deepseek_layers, mtp=mtp.bare),
    "Qwen3NextForCausalLM": QWEN_NEXT,
    "NemotronHForCausalLM": Architecture(hybrid.nemotron_layers, mtp=mtp.nemotron),
    "JambaForCausalLM": Architecture(hybrid.jamba_layers),
    "GraniteMoeHybridForCausalLM": Architecture(hybrid.granite_hybrid_layers, tied=True),
    "MiniMaxM1ForCausalLM": Architecture(hybrid.minimax_m1_layers),
    "Gemma4ForCausalLM": Architecture(mixed.gemma4_layers, tied=True, beside=mixed.gemma4_outer),
    "MiMoV2FlashForCausalLM": Architecture(mixed.mimo_v2_layers),
    "FalconForCausalLM": Architecture(mixed.falcon_layers, tied=True, final_norm=2),
    "SarvamMLAForCausalLM": Architecture(mla.deepseek_layers),
}
_WRAPPERS: dict[str, tuple[str, Callable[[Config, Config], blocks.Tensors] | None]] = {
    "Gemma3ForConditionalGeneration": ("Gemma3ForCausalLM", vision.siglip),
    "Gemma4ForConditionalGeneration": ("Gemma4ForCausalLM", vision.gemma4),
    "KimiK25ForConditionalGeneration": ("DeepseekV3ForCausalLM", vision.moonvit),
    "Llama4ForConditionalGeneration": ("Llama4ForCausalLM", vision.llama4),
    "Mistral3ForConditionalGeneration": ("MistralForCausalLM", vision.pixtral),
    "Qwen2VLForConditionalGeneration": ("Qwen2ForCausalLM", vision.qwen2_vl),
    "Qwen2_5_VLForConditionalGeneration": ("Qwen2ForCausalLM", vision.qwen25_vl),
    "Qwen3VLForConditionalGeneration": ("Qwen3ForCausalLM", vision.qwen_vl),
    "Qwen3VLMoeForConditionalGeneration": ("Qwen3MoeForCausalLM", vision.qwen_vl),
    "Qwen3_5ForConditionalGeneration": ("Qwen3NextForCausalLM", vision.qwen_vl),
    "Qwen3_5MoeForConditionalGeneration": ("Qwen3NextForCausalLM", vision.qwen_vl),
}
ARCHITECTURES |= {
    name: replace(ARCHITECTURES[text], vision=tower) for name, (text, tower) in _WRAPPERS.items()
}


@dataclass(frozen=True, slots=True)
class Parts:
    """A model taken apart: every layer in order, and the tensors outside the layers."""

    architecture: str
    text: Config
    layers: Layers
    outer: blocks.Tensors
    tied: bool


def build(config: Config) -> Parts:
    """Build the layers and tensors of a model from its config.

    Raises:
        InvalidValue: the architecture is unknown, or a key is missing or makes no sense.
    """
    names = config.texts("architectures")
    if not names:
        raise config.error("architectures", "add this key, as the model's config.json has it")
    name = next((n for n in names if n in ARCHITECTURES), None)
    if name is None:
        known = ", ".join(get_close_matches(names[0], ARCHITECTURES, n=3)) or "LlamaForCausalLM"
        raise config.error("architectures", f"fitcalc cannot build it; nearest known: {known}")
    architecture = ARCHITECTURES[name]
    text = config.sub("text_config", "llm_config") or config
    tied = config.flag("tie_word_embeddings", default=architecture.tied)
    tied = text.flag("tie_word_embeddings", default=tied)
    layers = architecture.layers(text)
    outer = blocks.embeddings(
        text.integer("vocab_size"), text.integer("hidden_size"),
        tied=tied, head_bias=text.flag("lm_head_bias"), norm=architecture.final_norm,
    )  # fmt: skip
    tower = config.sub("vision_config")
    if tower is not None and architecture.vision is not None:
        outer += architecture.vision(tower, text)
    if architecture.beside is not None:
        outer += architecture.beside(text)
    if architecture.mtp is not None:
        outer += architecture.mtp(text, layers)
    return Parts(name, text, layers, outer, tied)
