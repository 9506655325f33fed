"""Multi-token-prediction layers of a checkpoint; vLLM loads them only to speculate."""

from __future__ import annotations

from dataclasses import replace

from fitcalc.catalog.architectures import blocks, hybrid
from fitcalc.catalog.architectures.config import Config
from fitcalc.catalog.architectures.parts import Layer, Shard, TensorKind


def as_mtp(tensors: blocks.Tensors) -> blocks.Tensors:
    """Mark tensors as belonging to an MTP layer."""
    return tuple(
        replace(t, name=f"mtp.{t.name}", kind=TensorKind.MTP, gemm="", ignored=True)
        for t in tensors
    )


def joint(hidden: int, norms: int) -> blocks.Tensors:
    """Projection of hidden state and embedding side by side, and its norms."""
    tensors = blocks.linear("eh_proj", hidden, 2 * hidden, Shard.REPLICATED, "")
    return tensors + blocks.vector("norms", hidden, copies=norms)


def qwen(config: Config, layers: tuple[Layer, ...]) -> blocks.Tensors:
    """MTP of Qwen3-Next and Qwen3.5: a full-attention layer, without embeddings of its own."""
    count = config.integer("mtp_num_hidden_layers", default=1, least=0)
    full = next((layer for layer in layers if layer.kind != "state"), None)
    if not count or full is None:
        return ()
    hidden = config.integer("hidden_size")
    return as_mtp(full.tensors * count + joint(hidden, 3))


def glm(config: Config, layers: tuple[Layer, ...]) -> blocks.Tensors:
    """MTP of GLM and DeepSeek: the last layer again, with embedding and head copies."""
    count = config.integer("num_nextn_predict_layers", default=0, least=0)
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size")
    copies = blocks.embeddings(vocab, hidden, tied=False)
    return as_mtp((layers[-1].tensors + joint(hidden, 2) + copies) * count)


def bare(config: Config, layers: tuple[Layer, ...]) -> blocks.Tensors:
    """MTP that shares embedding and head: GLM 5, MiMo; its layer is of the fullest kind."""
    count = config.integer("num_nextn_predict_layers", default=0, least=0)
    if not count:
        return ()
    last = max(layers, key=lambda layer: sum(t.parameters for t in layer.tensors))
    return as_mtp((last.tensors + joint(config.integer("hidden_size"), 3)) * count)


def nemotron(config: Config, layers: tuple[Layer, ...]) -> blocks.Tensors:
    """MTP of Nemotron 3: attention and experts, and the joint projection."""
    del layers
    if not config.integer("num_nextn_predict_layers", default=0, least=0):
        return ()
    hidden = config.integer("hidden_size")
    kinds = config.texts("mtp_layers_block_type") or ("attention", "moe")
    tensors = tuple(t for kind in kinds for t in hybrid.nemotron_layer(config, kind).tensors)
    return as_mtp(tensors + joint(hidden, 3))
