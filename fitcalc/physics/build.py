"""From a model, a GPU and an engine's settings to the terms of its step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fitcalc.answers import Calibrated
from fitcalc.catalog.efficiency import load_efficiency, nearest_ranks
from fitcalc.catalog.formats import KvFormat, WeightFormat
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.catalog.link import inter_node_link
from fitcalc.catalog.model import Attention, LlmModel, TensorKind
from fitcalc.catalog.whose import worst
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.glue import glue_term, wide_norms
from fitcalc.physics.host import Serving, host_term, serving
from fitcalc.physics.kernels import ACTIVATION_BYTES, stack
from fitcalc.physics.kv_layers import attention_bytes_per_token
from fitcalc.physics.launch import launch_term
from fitcalc.physics.lora import adapter_gemms, beside
from fitcalc.physics.splits import Gemm, RankGemms, gemms
from fitcalc.physics.step import StepModel
from fitcalc.physics.sustained import half_flops, sustained
from fitcalc.physics.terms import AttentionTerm, GemmTerm, LinkTerm, MoeTerm
from fitcalc.physics.weights import Parallel, stored
from fitcalc.units import MAX_TOKENS, Array

NO_WINDOW = float(MAX_TOKENS)
"""A window longer than any context. [tokens]"""
_FUSING_CAPABILITY = (10.0, 11.0)

_FUSED_FORMATS = frozenset({"fp8", "int8"})
"""Formats with a scale a row or tensor: GEMMs were timed with the quantization of their input as a
kernel of its own, but vLLM fuses it into the norm or activation before
(vllm/compilation/passes/fusion; where custom operators are off, torch.compile does)."""
_AFTER_ATTENTION = frozenset({"o_proj", "gdn_out_proj", "mamba_out_proj"})
"""Their input comes from attention, which quantizes nothing."""


class DeviceLaws(NamedTuple):
    """Every law that a step on one GPU needs, at one weight format, KV format and layout."""

    gemm: GemmLaw
    plain: GemmLaw
    experts: MoeLaw
    decode: AttentionDecodeLaw
    prefill: AttentionPrefillLaw
    glue: MemoryLaw
    all_reduce: AllReduceLaw
    gather: ExchangeLaw
    exchange: ExchangeLaw
    send: ExchangeLaw


@lru_cache(maxsize=4096)
def calibrated(gpu: Gpu, weight: WeightFormat) -> Calibrated:
    """Say whether what a step needs was measured on this GPU, in this format, or borrowed."""
    fitted = load_efficiency(gpu)
    return worst(fitted.calibrated, fitted.gemm[weight.id].calibrated)


@lru_cache(maxsize=4096)
def device_laws(gpu: Gpu, weight: WeightFormat, kv: KvFormat, split: Parallel) -> DeviceLaws:
    """Return the laws of one GPU at one weight format, KV format and layout."""
    fitted = load_efficiency(gpu)
    kv_name = "bf16" if kv.bytes_per_element >= ACTIVATION_BYTES else "fp8"
    across = gpu.link.bandwidth if split.expert_ranks <= gpu.link.domain else gpu.pcie_bandwidth
    nodes = inter_node_link().bandwidth
    send = fitted.point_to_point.law
    fuses = _fuses_norms(gpu, split)
    reduce = (fitted.all_reduce_fused if fuses else fitted.all_reduce)[nearest_ranks(split.tp)].law
    return DeviceLaws(
        gemm=fitted.gemm[weight.id].law,
        plain=fitted.gemm["bf16"].law,
        experts=fitted.moe[weight.id].law,
        decode=fitted.attention_decode[kv_name].law,
        prefill=fitted.attention_prefill[kv_name].law,
        glue=fitted.glue.law,
        all_reduce=reduce._replace(link_bandwidth=across),
        gather=fitted.all_gather[nearest_ranks(split.tp)].law._replace(link_bandwidth=across),
        exchange=fitted.all_gather[nearest_ranks(split.dp)].law._replace(link_bandwidth=across),
        send=send._replace(
            link_bandwidth=nodes if split.tp * split.pp > gpu.gpus_per_node else across
        ),
    )


def step_model(
    model: LlmModel,
    gpus: Sequence[Gpu],
    weight: WeightFormat,
    kv: KvFormat,
    split: Parallel,
    *,
    engine: ResolvedEngine,
    stacked: bool = False,
    fitted: Serving | None = None,
) -> StepModel:
    """Build the step of a model on one GPU, or stacked on several.

    Args:
        model: The model.
        gpus: The GPU, or several for a stack.
        weight: Format of the quantized weights.
        kv: Format of the KV cache.
        split: Tensor, pipeline, data and expert parallelism.
        engine: Version, scheduling and CUDA graphs.
        stacked: Whether to make a stack with a row for each GPU, even of one.
        fitted: What serving adds to kernels; ``serving()`` if not given.
    """
    adds = fitted or serving()
    each = [device_laws(gpu, weight, kv, split) for gpu in gpus]
    one = not stacked
    does = [float(_fuses_norms(gpu, split)) for gpu in gpus]
    ops = each[0] if one else DeviceLaws(*(stack(c, trailing=2) for c in zip(*each, strict=True)))
    flat = each[0] if one else DeviceLaws(*(stack(c, trailing=1) for c in zip(*each, strict=True)))
    how = stored(model, weight)
    size = how.format.bytes_per_param_at(how.group_size) if how else ACTIVATION_BYTES
    products = gemms(
        model, weight, tp=split.tp, dp=split.dp,
        enable_expert_parallel=split.enable_expert_parallel,
    )  # fmt: skip
    links = _links(model, split, flat, adds)
    matrices = _gemms(products, model, weight, size, ops)
    if engine.enable_lora:
        matrices = beside(matrices, adapter_gemms(model, products, engine, ops.plain))
    experts = _experts(products, model, split, size, ops)
    flops = half_flops(matrices, experts, ops.plain.peak_flops)
    return StepModel(
        gemms=matrices,
        head=_head(products.lm_head, size, ops),
        attention=_attention(model, kv, split, ops, adds),
        experts=experts,
        glue=glue_term(model, split, flat.glue, does[0] if one else np.array(does)[:, None]),
        links=links,
        host=host_term(adds, model.num_hidden_layers, flops, engine),
        launch=launch_term(
            model, gpus, weight, products, links=links, engine=engine, stacked=stacked
        ),
    )


def _gemms(
    products: RankGemms, model: LlmModel, weight: WeightFormat, size: float, laws: DeviceLaws
) -> GemmTerm:
    merged: dict[tuple[float, float, bool, bool], float] = {}
    for layer, count in zip(products.layers, model.layer_counts, strict=True):
        for gemm in layer:
            if gemm.kind is not TensorKind.EXPERT:
                fused = weight.id in _FUSED_FORMATS and gemm.label not in _AFTER_ATTENTION
                key = (gemm.n, gemm.k, gemm.quantized, gemm.quantized and fused)
                merged[key] = merged.get(key, 0.0) + count * gemm.count
    n, k, *marks = _columns(merged)
    quantized, fused_rows = (mark > 0 for mark in marks)
    law = GemmLaw(*(np.where(quantized, a, b) for a, b in zip(laws.gemm, laws.plain, strict=True)))
    law = law._replace(
        passes=np.where(fused_rows, 0.0, law.passes),
        t0_s=np.where(fused_rows, np.minimum(laws.plain.t0_s, law.t0_s), law.t0_s),
    )
    stored_bytes = np.where(quantized, size, ACTIVATION_BYTES)
    return GemmTerm(n, k, stored_bytes, np.array(list(merged.values())), law)


def _head(head: Gemm, size: float, laws: DeviceLaws) -> GemmTerm:
    n, k, stored_bytes = _columns([(head.n, head.k, size if head.quantized else ACTIVATION_BYTES)])
    return GemmTerm(n, k, stored_bytes, np.ones(1), laws.gemm if head.quantized else laws.plain)


def _attention(
    model: LlmModel, kv: KvFormat, split: Parallel, laws: DeviceLaws, adds: Serving
) -> AttentionTerm | None:
    cells = [
        (*row, float(count))
        for layer, count in zip(model.layers, model.layer_counts, strict=True)
        if isinstance(layer.mixer, Attention)
        for row in _attention_rows(layer.mixer, kv, split.tp)
    ]
    if not cells:
        return None
    heads, decode_dim, prefill_dim, size, window, count = _columns(cells)
    decode = laws.decode._replace(t0_s=laws.decode.t0_s * adds.floor)
    prefill = sustained(laws.prefill, adds.flop)
    return AttentionTerm(heads, decode_dim, prefill_dim, size, window, count, decode, prefill)


def _attention_rows(a: Attention, kv: KvFormat, tp: int) -> list[tuple[float, ...]]:
    """Heads, decode width, prefill width, bytes a token and window of a layer's kernels."""
    heads = max(1.0, a.num_attention_heads / tp)
    window = float(a.window or NO_WINDOW)
    size = float(attention_bytes_per_token(a, kv, tp, packed_mla=False))
    if not a.kv_lora_rank:
        width = (a.head_dim + a.v_head_dim) / 2.0
        return [(heads, width, width, size, window)]
    # Decode works on the latent that all heads share, prefill on the heads it expands to.
    latent = a.kv_lora_rank + a.qk_rope_head_dim / 2.0
    expanded = (a.qk_nope_head_dim + a.qk_rope_head_dim + a.v_head_dim) / 2.0
    size = (a.kv_lora_rank + a.qk_rope_head_dim) * kv.bytes_per_element / a.compress_ratio
    window = float(a.index_topk) if a.index_topk else window
    row = (heads, latent / a.compress_ratio, expanded, size, window)
    if not (a.index_topk and a.index_head_dim):
        return [row]
    score = a.index_head_dim / 2.0
    return [row, (float(a.index_n_heads), score, score, float(a.index_head_dim), NO_WINDOW)]


def _experts(
    products: RankGemms, model: LlmModel, split: Parallel, size: float, laws: DeviceLaws
) -> MoeTerm | None:
    cells = []
    for layer, held, count in zip(model.layers, products.layers, model.layer_counts, strict=True):
        if layer.moe is None:
            continue
        quantized = any(g.quantized for g in held if g.kind is TensorKind.EXPERT)
        whole = split.enable_expert_parallel
        cells.append((
            model.hidden_size,
            layer.moe.moe_intermediate_size,
            layer.moe.num_experts_per_tok,
            layer.moe.num_experts,
            size if quantized else ACTIVATION_BYTES,
            1.0 if whole else split.expert_ranks,
            split.expert_ranks if whole else 1.0,
            split.dp,
            count,
        ))  # fmt: skip
    if not cells:
        return None
    hidden, inner, topk, experts, stored_bytes, tp, ep, dp, counts = _columns(cells)
    return MoeTerm(hidden, inner, topk, experts, stored_bytes, tp, ep, dp, counts, laws.experts)


def _columns(cells: Iterable[tuple[float, ...]]) -> list[Array]:
    """Turn rows of numbers into a column each."""
    return [np.array(column, dtype=np.float64) for column in zip(*cells, strict=True)]


def _fuses_norms(gpu: Gpu, split: Parallel) -> bool:
    """Whether vLLM runs each all-reduce and the norm after it as one kernel.

    vLLM 0.33.0 compilation/passes/fusion/allreduce_rms_fusion.py; only Blackwell has it throughout
    the versions that were measured.
    """
    low, high = _FUSING_CAPABILITY
    return split.tp > 1 and low <= gpu.capability < high


def _links(model: LlmModel, split: Parallel, laws: DeviceLaws, adds: Serving) -> LinkTerm:
    reduces = 1.0 + sum(
        count * ((layer.mixer is not None) + bool(layer.moe or layer.intermediate_size))
        for layer, count in zip(model.layers, model.layer_counts, strict=True)
    )
    expert_layers = sum(
        count
        for layer, count in zip(model.layers, model.layer_counts, strict=True)
        if layer.moe is not None
    )
    return LinkTerm(
        token_bytes=ACTIVATION_BYTES * model.hidden_size,
        row_bytes=ACTIVATION_BYTES * model.vocab_size,
        tp=float(split.tp),
        all_reduces=reduces,
        norm_reduces=float(wide_norms(model)),
        dp=float(split.dp),
        exchanges=2.0 * expert_layers if split.dp > 1 else 0.0,
        stages=float(split.pp),
        skew_s=adds.skew,
        all_reduce=laws.all_reduce,
        gather=laws.gather,
        exchange=laws.exchange,
        send=laws.send,
    )
