r"""What vLLM keeps of a card beside weights and KV cache.

From vllm/v1/worker/gpu_worker.py, ``determine_available_memory``: the profile run computes
max_num_batched_tokens tokens and samples max_num_seqs rows; its peak, what it left behind, and from
0.20 on an estimate of the CUDA graphs are taken off the budget. Coefficients are fitted to start-up
logs (calibration/results/memory.toml).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.gpu import Gpu, Vendor
from fitcalc.catalog.model import Attention, LayerKind, LlmModel, Moe, TensorKind
from fitcalc.catalog.overheads import OverheadCoefficients
from fitcalc.inputs.engine import ResolvedEngine, release
from fitcalc.units import Array, Values

FLASHINFER_SAMPLER_BYTES = 2 + 4 + 4
"""Logits in 16 bits and in fp32, and probabilities (vllm/v1/sample/sampler.py, from 0.21 on)."""
PENALTY_BYTES = 4 + 1 / 8
"""Counts of output tokens and a bit for prompt tokens, kept for each slot and vocabulary entry
(vllm/v1/worker/gpu/sample/penalties.py, model runner V2, the default from 0.29 on)."""
VOCAB_PAD = 64
"""vllm/model_executor/layers/vocab_parallel_embedding.py."""
MLA_WORKSPACE_TOKENS = 64 * 1024
"""Context tokens that MLA expands at once (mla_attention.py, chunked prefill workspace)."""
_HALF = 2.0
_GRAPH_FINE, _GRAPH_COARSE, _GRAPH_TURN = 8, 16, 256
_GRAPH_LARGEST = 512
_GRAPHS_OF_512 = 51.0
_FUSED_CAPABILITIES = (9.0, 10.0)
_FLASHINFER_IMAGE = (0, 11, 0)


@dataclass(frozen=True, slots=True)
class GpuColumns:
    """GPUs side by side: one row each, as arrays. Memory in B; the rest are yes (1) or no (0)."""

    memory: Array
    visible: Array
    amd: Array
    nvlink: Array
    fused: Array
    start: Array


@dataclass(frozen=True, slots=True)
class Overheads:
    """Bytes of one rank beside weights and KV cache; ``budgeted``: graphs count in the budget."""

    activation: Values
    non_torch: Values
    cuda_graph: Values
    budgeted: bool

    @property
    def in_budget(self) -> Values:
        """What is taken off the budget together with the weights. [B]"""
        graphs = self.cuda_graph if self.budgeted else 0.0
        return self.activation + self.non_torch + graphs


def gpu_columns(gpus: Sequence[Gpu], c: OverheadCoefficients) -> GpuColumns:
    """Put GPUs side by side, each with the total memory that a process sees."""
    memory = np.array([gpu.memory_bytes for gpu in gpus])
    nvidia = np.array([gpu.vendor is Vendor.NVIDIA for gpu in gpus])
    seen = np.array([gpu.cuda_memory_bytes or 0.0 for gpu in gpus])
    guessed = memory - np.where(nvidia, c.hidden + c.hidden_share * memory, 0.0)
    return GpuColumns(
        memory=memory,
        visible=np.where(seen > 0, seen, guessed),
        amd=np.array([float(gpu.vendor is Vendor.AMD) for gpu in gpus]),
        nvlink=np.array([float(gpu.link.kind == "nvlink") for gpu in gpus]),
        fused=np.array([float(gpu.capability in _FUSED_CAPABILITIES) for gpu in gpus]),
        start=np.where(nvidia, c.start, 0.0),
    )


def overheads(  # noqa: PLR0913 - the batch limits of many candidates replace the engine's own
    model: LlmModel,
    weight_format: WeightFormat,
    engine: ResolvedEngine,
    gpus: GpuColumns,
    c: OverheadCoefficients,
    *,
    max_num_batched_tokens: Values | None = None,
    max_num_seqs: Values | None = None,
) -> Overheads:
    """Bytes that one rank keeps beside weights and KV cache, for each GPU.

    Args:
        model: The model.
        weight_format: Format of its weights.
        engine: Settings; its batch limits hold where none are given.
        gpus: The GPUs.
        c: Fitted coefficients.
        max_num_batched_tokens: Batch limits to try, broadcast against the GPUs. [tokens]
        max_num_seqs: Likewise. [1]
    """
    given_t, given_r = engine.max_num_batched_tokens, engine.max_num_seqs
    tokens = float(given_t) if max_num_batched_tokens is None else max_num_batched_tokens
    seqs = float(given_r) if max_num_seqs is None else max_num_seqs
    later = release(engine.version) >= (0, 17)
    tp = engine.tensor_parallel_size
    doublings = float(np.log2(tp))
    fuses = later and not engine.enforce_eager and engine.gpus == tp
    link = gpus.nvlink * c.nvlink + (1 - gpus.nvlink) * c.pcie
    link = link + (gpus.fused * c.fusion if fuses else 0.0)
    nvidia = c.context + (c.context_later if later else 0.0) + doublings * link
    amd = c.amd + doublings * c.amd_link
    return Overheads(
        activation=activation_bytes(model, weight_format, engine, c, tokens, seqs),
        non_torch=gpus.amd * amd + (1 - gpus.amd) * nvidia,
        cuda_graph=graph_bytes(model, engine, gpus, c, seqs),
        budgeted=release(engine.version) >= (0, 20),
    )


def activation_bytes(  # noqa: PLR0913 - what a profile run depends on
    model: LlmModel,
    weight_format: WeightFormat,
    engine: ResolvedEngine,
    c: OverheadCoefficients,
    tokens: Values,
    seqs: Values,
) -> Values:
    """Peak of the profile run, and what it leaves behind. [B]

    The larger of the forward pass and the sampler, plus the experts' workspace where the version
    keeps it, the sampler's counts per slot (0.29 and later) and a vision tower's dummy images.
    """
    rows = np.minimum(seqs, tokens)
    vocabulary = -(-model.vocab_size // VOCAB_PAD) * VOCAB_PAD
    workspace = expert_workspace_bytes(model, engine, tokens)
    kept = _keeps_workspace(weight_format, engine)
    forward = forward_bytes(model, engine, tokens, rows) + (0.0 if kept else workspace)
    sampler = _sampler_bytes(engine, c) * rows * vocabulary
    left = workspace if kept else 0.0
    if release(engine.version) >= (0, 29):
        left = left + PENALTY_BYTES * seqs * vocabulary
    if any(tensor.kind is TensorKind.VISION for tensor in model.outer):
        left = left + c.vision
    return np.maximum(forward, sampler) + left


def forward_bytes(model: LlmModel, engine: ResolvedEngine, tokens: Values, rows: Values) -> Values:
    r"""Tensors alive at once in the forward pass. [B]

    $$T (2H + 3 I / tp) \cdot 2$$ and, with MLA, the keys and values of the context it expands.
    """
    tp = engine.tensor_parallel_size
    width = max(
        max(layer.intermediate_size, layer.moe.shared_intermediate_size if layer.moe else 0)
        for layer in model.layers
    )
    peak = tokens * (2.0 * model.hidden_size + 3.0 * width / tp) * _HALF
    mla = next((a for layer in model.layers if (a := _mla(layer.mixer))), None)
    if mla is None:
        return peak
    least = np.maximum(8.0 * engine.max_model_len, 4.0 * rows * (engine.block_size or 16))
    expanded = np.minimum(least, MLA_WORKSPACE_TOKENS)
    heads = mla.num_attention_heads / tp
    return peak + expanded * heads * (mla.qk_nope_head_dim + mla.v_head_dim) * _HALF


def expert_workspace_bytes(model: LlmModel, engine: ResolvedEngine, tokens: Values) -> Values:
    r"""Workspace of the expert kernels: every token once for each expert it goes to. [B]

    $$T k (\max(N/2, H) + \max(N, H)) \cdot 2, \quad N = 2 I / \text{ranks}$$

    References:
        vllm/model_executor/layers/fused_moe, ``TritonExperts.workspace_shapes``.
    """
    moe: Moe | None = next((layer.moe for layer in model.layers if layer.moe), None)
    if moe is None:
        return np.zeros_like(tokens) + 0.0
    ranks = engine.tensor_parallel_size * engine.data_parallel_size
    inner = moe.moe_intermediate_size / (1 if engine.enable_expert_parallel else ranks)
    width = max(inner, model.hidden_size) + max(2.0 * inner, model.hidden_size)
    return tokens * moe.num_experts_per_tok * width * _HALF


def graph_sizes(max_num_seqs: Values) -> Values:
    """Batch sizes that are captured: 1, 2, 4, every 8 below 256, every 16 up to 512. [1]

    Source: vllm/config/vllm.py, ``_set_cudagraph_sizes``.

    Examples:
        >>> float(graph_sizes(1024.0))
        51.0
    """
    largest = np.minimum(2.0 * max_num_seqs, _GRAPH_LARGEST)
    fine = np.floor(np.minimum(largest, _GRAPH_TURN - 1) / _GRAPH_FINE)
    coarse = np.maximum(np.floor((largest - _GRAPH_TURN) / _GRAPH_COARSE) + 1, 0.0)
    return np.minimum(largest, 3.0) + fine + coarse


def graph_bytes(
    model: LlmModel,
    engine: ResolvedEngine,
    gpus: GpuColumns,
    c: OverheadCoefficients,
    max_num_seqs: Values,
) -> Values:
    """CUDA graphs of every captured size; none with --enforce-eager. [B]

    On ROCm no estimate is taken off the budget.
    """
    if engine.enforce_eager:
        return np.zeros_like(gpus.amd * max_num_seqs)
    version = release(engine.version)
    layers = model.num_hidden_layers / engine.pipeline_parallel_size
    nvidia = c.graph + (c.graph_moe if model.is_moe else 0.0)
    amd = 0.0 if version >= (0, 20) else c.graph_amd
    per_size = (gpus.amd * amd + (1 - gpus.amd) * nvidia) / _GRAPHS_OF_512
    return per_size * layers * graph_sizes(max_num_seqs)


def _mla(mixer: object) -> Attention | None:
    found = isinstance(mixer, Attention) and mixer.kind is LayerKind.MLA
    return mixer if found and isinstance(mixer, Attention) else None


def _sampler_bytes(engine: ResolvedEngine, c: OverheadCoefficients) -> float:
    """Peak bytes of the sampler per row and vocabulary entry. [B]

    Sorting samplers took value and index, twice (topk_topp_sampler.py until 0.16); the images of
    0.11.0 and vLLM from 0.17 on do not sort; FlashInfer samples by default from 0.21 on.
    """
    version = release(engine.version)
    if version >= (0, 21):
        return FLASHINFER_SAMPLER_BYTES
    lean = version >= (0, 17) or patch_release(engine.version) == _FLASHINFER_IMAGE
    return c.sampler_lean if lean else c.sampler_sorted


def _keeps_workspace(weight_format: WeightFormat, engine: ResolvedEngine) -> bool:
    """Whether the experts' workspace outlives the profile run.

    From 0.17 on every 16-bit and FP8 kernel keeps it (modular_kernel.py); before, only the CUTLASS
    kernels of FP8 with scales per channel did.
    """
    if release(engine.version) >= (0, 17):
        return weight_format.bits >= 8
    return weight_format.id == "fp8" and weight_format.channel_scale_bytes > 0


def patch_release(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of a version; a missing patch is 0.

    Examples:
        >>> patch_release("0.11.2+rhai1")
        (0, 11, 2)
    """
    found = re.match(r"v?\d+\.\d+\.(\d+)", version.strip())
    return (*release(version), int(found[1]) if found else 0)
