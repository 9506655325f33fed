"""Vision towers, loaded beside the decoder of a multimodal model. Never quantized here."""

from __future__ import annotations

from dataclasses import replace

from fitcalc.catalog.architectures import blocks
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import Shard, Tensor, TensorKind

CHANNELS = 3
MERGE = 2


def _matrix(name: str, rows: int, cols: int, shard: Shard, copies: int) -> blocks.Tensors:
    split = Shard.REPLICATED if shard is Shard.ROW else shard
    return (
        Tensor(f"visual.{name}", rows, cols, TensorKind.VISION, shard, copies=copies),
        Tensor(f"visual.{name}.bias", rows, 1, TensorKind.VISION, split, copies=copies),
    )


def _plain(name: str, size: int, copies: int = 1) -> blocks.Tensors:
    return (Tensor(f"visual.{name}", size, 1, TensorKind.VISION, Shard.REPLICATED, copies=copies),)


def _blocks(hidden: int, size: int, depth: int) -> blocks.Tensors:
    """Return pre-norm transformer blocks with biases and a plain two-matrix MLP."""
    tensors = _matrix("qkv", 3 * hidden, hidden, Shard.COLUMN, depth)
    tensors += _matrix("proj", hidden, hidden, Shard.ROW, depth)
    tensors += _matrix("fc1", size, hidden, Shard.COLUMN, depth)
    tensors += _matrix("fc2", hidden, size, Shard.ROW, depth)
    return tensors + _plain("norms", hidden, 4 * depth)


def siglip(vision: Config, text: Config) -> blocks.Tensors:
    """SigLIP tower and the projector of Gemma 3."""
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    depth = vision.integer("num_hidden_layers")
    image = vision.integer("image_size", default=896)
    out = text.integer("hidden_size")
    tensors = _matrix("patch_embedding", hidden, CHANNELS * patch**2, Shard.REPLICATED, 1)
    tensors += _plain("position_embedding", (image // patch) ** 2 * hidden)
    tensors += _blocks(hidden, vision.integer("intermediate_size"), depth)
    tensors += _plain("post_layernorm", hidden, 2)
    tensors += _plain("projection", hidden * out)
    return tensors + _plain("soft_embedding_norm", hidden)


def qwen_vl(vision: Config, text: Config) -> blocks.Tensors:
    """Tower of Qwen3-VL and Qwen3.5, its merger, and the deep-stack mergers of Qwen3-VL."""
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    depth, frames = vision.integer("depth"), vision.integer("temporal_patch_size", default=2)
    merged = hidden * vision.integer("spatial_merge_size", default=MERGE) ** 2
    out = vision.integer("out_hidden_size", default=text.integer("hidden_size"))
    positions = vision.integer("num_position_embeddings", default=2304)
    tensors = _matrix("patch_embed", hidden, CHANNELS * frames * patch**2, Shard.REPLICATED, 1)
    tensors += _plain("pos_embed", positions * hidden)
    tensors += _blocks(hidden, vision.integer("intermediate_size"), depth)
    deep = vision.integers("deepstack_visual_indexes")
    deepstack = (3 if "qwen3_vl" in vision.text("model_type", "") else 0) if deep is None else len(
        deep
    )  # fmt: skip
    tensors += _plain("merger.norm", hidden, 2) + _plain("deepstack.norm", merged, 2 * deepstack)
    tensors += _matrix("merger.fc1", merged, merged, Shard.COLUMN, 1 + deepstack)
    return tensors + _matrix("merger.fc2", out, merged, Shard.ROW, 1 + deepstack)


def pixtral(vision: Config, text: Config) -> blocks.Tensors:
    """Pixtral tower of Mistral 3 and its patch merger; no biases."""
    hidden, size = vision.integer("hidden_size"), vision.integer("intermediate_size")
    depth, patch = vision.integer("num_hidden_layers"), vision.integer("patch_size")
    out = text.integer("hidden_size")

    def matrix(name: str, rows: int, cols: int, shard: Shard, copies: int) -> blocks.Tensors:
        return (Tensor(f"visual.{name}", rows, cols, TensorKind.VISION, shard, copies=copies),)

    tensors = matrix("patch_conv", hidden, CHANNELS * patch**2, Shard.REPLICATED, 1)
    tensors += matrix("qkv", 3 * hidden, hidden, Shard.COLUMN, depth)
    tensors += matrix("o_proj", hidden, hidden, Shard.ROW, depth)
    tensors += matrix("gate_up", 2 * size, hidden, Shard.COLUMN, depth)
    tensors += matrix("down", hidden, size, Shard.ROW, depth)
    tensors += _plain("norms", hidden, 2 * depth + 1) + _plain("projector.norm", hidden)
    merge = vision.integer("spatial_merge_size", default=MERGE) ** 2
    tensors += matrix("patch_merger", hidden, merge * hidden, Shard.REPLICATED, 1)
    tensors += matrix("linear_1", out, hidden, Shard.REPLICATED, 1)
    return tensors + matrix("linear_2", out, out, Shard.REPLICATED, 1)


def llama4(vision: Config, text: Config) -> blocks.Tensors:
    """Llama 4 tower: unfold embedding, blocks with biases, pixel shuffle MLP, projector."""
    hidden, size = vision.integer("hidden_size"), vision.integer("intermediate_size")
    depth, patch = vision.integer("num_hidden_layers"), vision.integer("patch_size")
    image = vision.integer("image_size")
    wide, out = vision.integer("projector_input_dim"), vision.integer("vision_output_dim")
    shuffled = round(hidden / float(str(vision.data.get("pixel_shuffle_ratio", 0.5))) ** 2)
    tensors = _plain("patch_embedding", hidden * CHANNELS * patch**2)
    tensors += _plain("class_embedding", hidden)
    tensors += _plain("position_embedding", ((image // patch) ** 2 + 1) * hidden)
    tensors += _blocks(hidden, size, depth) + _plain("norms_pre_post", hidden, 4)
    tensors += _plain("adapter.fc1", shuffled * wide) + _plain("adapter.fc2", wide * out)
    return tensors + _plain("projector", out * text.integer("hidden_size"))


def qwen2_vl(vision: Config, text: Config) -> blocks.Tensors:
    """Tower of Qwen2-VL: LayerNorms, a plain MLP; ``hidden_size`` is the decoder's there."""
    hidden, patch = vision.integer("embed_dim"), vision.integer("patch_size")
    depth, frames = vision.integer("depth"), vision.integer("temporal_patch_size", default=2)
    tensors = _plain("patch_embed", hidden * CHANNELS * frames * patch**2)
    tensors += _blocks(hidden, vision.integer("mlp_ratio", default=4) * hidden, depth)
    return tensors + _qwen_merger(vision, text, hidden, norms=2)


def qwen25_vl(vision: Config, text: Config) -> blocks.Tensors:
    """Tower of Qwen2.5-VL: RMS norms, a gated MLP with biases."""
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    depth, frames = vision.integer("depth"), vision.integer("temporal_patch_size", default=2)
    size = vision.integer("intermediate_size")
    tensors = _plain("patch_embed", hidden * CHANNELS * frames * patch**2)
    tensors += _matrix("qkv", 3 * hidden, hidden, Shard.COLUMN, depth)
    tensors += _matrix("proj", hidden, hidden, Shard.ROW, depth)
    tensors += _matrix("gate_up", 2 * size, hidden, Shard.COLUMN, depth)
    tensors += _matrix("down", hidden, size, Shard.ROW, depth) + _plain("norms", hidden, 2 * depth)
    return tensors + _qwen_merger(vision, text, hidden, norms=1)


def _qwen_merger(vision: Config, text: Config, hidden: int, norms: int) -> blocks.Tensors:
    merged = hidden * vision.integer("spatial_merge_size", default=MERGE) ** 2
    tensors = _plain("merger.norm", hidden, norms)
    tensors += _matrix("merger.fc1", merged, merged, Shard.COLUMN, 1)
    return tensors + _matrix("merger.fc2", text.integer("hidden_size"), merged, Shard.ROW, 1)


def moonvit(vision: Config, text: Config) -> blocks.Tensors:
    """MoonViT tower of Kimi K2.5 and its projector; every rank holds all of it."""
    hidden, patch = vision.integer("vt_hidden_size"), vision.integer("patch_size")
    size, depth = vision.integer("vt_intermediate_size"), vision.integer("vt_num_hidden_layers")
    side = vision.integer("init_pos_emb_height") * vision.integer("init_pos_emb_width")
    merged = hidden * MERGE**2
    tensors = _matrix("patch_embed", hidden, CHANNELS * patch**2, Shard.REPLICATED, 1)
    tensors += _plain("pos_emb", side * hidden) + _blocks(hidden, size, depth)
    tensors += _plain("final_layernorm", hidden, 2) + _plain("projector.norm", hidden, 2)
    tensors += _matrix("projector.fc1", merged, merged, Shard.REPLICATED, 1)
    tensors += _matrix("projector.fc2", text.integer("hidden_size"), merged, Shard.REPLICATED, 1)
    return tuple(replace(t, shard=Shard.REPLICATED) for t in tensors)


def gemma4(vision: Config, text: Config) -> blocks.Tensors:
    """Gemma 4 tower: gated MLP, four norms a block, normed query and key, no biases."""
    hidden, patch = vision.integer("hidden_size"), vision.integer("patch_size")
    size, depth = vision.integer("intermediate_size"), vision.integer("num_hidden_layers")
    positions = vision.integer("position_embedding_size", default=10240)
    head = vision.integer("head_dim", default=hidden // vision.integer("num_attention_heads"))
    tensors = _plain("patch_embed", hidden * CHANNELS * patch**2)
    tensors += _plain("position_embedding", 2 * positions * hidden)
    for name, rows, cols, shard in (
        ("qkv", 3 * hidden, hidden, Shard.COLUMN), ("o_proj", hidden, hidden, Shard.ROW),
        ("gate_up", 2 * size, hidden, Shard.COLUMN), ("down", hidden, size, Shard.ROW),
    ):  # fmt: skip
        tensors += (Tensor(f"visual.{name}", rows, cols, TensorKind.VISION, shard, copies=depth),)
    tensors += _plain("norms", hidden, 4 * depth) + _plain("qk_norms", head, 2 * depth)
    if vision.flag("standardize"):
        tensors += _plain("standardization", hidden, 2)
    return tensors + _plain("projection", hidden * text.integer("hidden_size"))
