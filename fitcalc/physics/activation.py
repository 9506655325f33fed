r"""Peak memory of vLLM's profile run: the forward pass, the experts' workspace, the sampler.

Source: vllm/v1/worker/gpu/model_runner.py, ``profile_run``, and the kernels named below; the
coefficients are fitted to start-up logs (calibration/results/memory.toml).
"""

from __future__ import annotations

import re

import numpy as np

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.model import Attention, LayerKind, LlmModel, Moe, TensorKind
from fitcalc.catalog.overheads import OverheadCoefficients
from fitcalc.inputs.engine import ResolvedEngine, release
from fitcalc.physics.weights import VOCAB_PAD
from fitcalc.units import Values

FLASHINFER_SAMPLER_BYTES = 2 + 4 + 4
"""Logits in 16 bits and in fp32, and probabilities (vllm/v1/sample/sampler.py, from 0.21 on)."""
PENALTY_BYTES = 4 + 1 / 8
"""Counts of output tokens and a bit for prompt tokens, kept for each slot and vocabulary entry
(vllm/v1/worker/gpu/sample/penalties.py, model runner V2, the default from 0.29 on)."""
MLA_WORKSPACE_TOKENS = 64 * 1024
"""Context tokens that MLA expands at once (mla_attention.py, chunked prefill workspace)."""
LARGEST_IMAGE_PATCHES = 65536.0
"""Patches of Qwen's largest image: 12,845,056 pixels of 14 x 14 or 16,777,216 of 16 x 16
(max_pixels and longest_edge of their preprocessor_config.json)."""
_LARGE_IMAGES = frozenset({
    "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration",
    "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration",
})  # fmt: skip
_HALF = 2.0
_FLASHINFER_IMAGE = (0, 11, 0)


def activation_bytes(
    model: LlmModel,
    weight_format: WeightFormat,
    engine: ResolvedEngine,
    c: OverheadCoefficients,
    *,
    tokens: Values,
    seqs: Values,
    amd: Values = 0.0,
) -> Values:
    """Peak of the profile run, and what it leaves behind; ``amd`` is 1 on AMD's cards. [B]

    The largest of the forward pass, the sampler and a vision tower on its largest image, plus the
    experts' workspace where the version keeps it, the sampler's counts per slot (0.29 and later)
    and the images' embeddings.
    """
    rows = np.minimum(seqs, tokens)
    vocabulary = -(-model.vocab_size // VOCAB_PAD) * VOCAB_PAD
    workspace = expert_workspace_bytes(model, engine, tokens)
    kept = _keeps_workspace(weight_format, engine)
    forward = forward_bytes(model, engine, tokens, rows) + (0.0 if kept else workspace)
    sampler = _sampler_bytes(engine, c, amd) * rows * vocabulary
    left = workspace if kept else 0.0
    if release(engine.version) >= (0, 29):
        left = left + PENALTY_BYTES * seqs * vocabulary
    if any(tensor.kind is TensorKind.VISION for tensor in model.outer):
        left = left + c.vision
    tower = encoder_bytes(model, engine, c)
    return np.maximum(np.maximum(forward, sampler), tower) + left


def encoder_bytes(model: LlmModel, engine: ResolvedEngine, c: OverheadCoefficients) -> float:
    r"""Peak of a vision tower of Qwen's on the largest image it takes. [B]

    $$P (6 h + 6 k) + P w / tp$$ for $P$ patches of $k$ pixel values (in fp32 and 16 bits), three
    hidden states of width $h$ on every rank, and split over ranks $w = 4 I$ of the MLP of width
    $I$; until 0.16 more, for rotary embedding in fp32, fitted. Other towers see smaller images.
    """
    if model.architecture not in _LARGE_IMAGES:
        return 0.0
    tower = {t.name.removeprefix("visual."): t for t in model.outer if t.kind is TensorKind.VISION}
    hidden = tower["qkv"].cols
    pixels = tower["patch_embed"].rows * tower["patch_embed"].cols / hidden
    inner = tower["fc1"].rows if "fc1" in tower else tower["gate_up"].rows / 2.0
    split = 2.0 * _HALF * inner
    if release(engine.version) < (0, 17):
        split = max(split, c.encoder * hidden)
    every = 3.0 * _HALF * hidden + (4.0 + _HALF) * pixels
    return LARGEST_IMAGE_PATCHES * (every + split / engine.tensor_parallel_size)


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


def _mla(mixer: object) -> Attention | None:
    found = isinstance(mixer, Attention) and mixer.kind is LayerKind.MLA
    return mixer if found and isinstance(mixer, Attention) else None


def _sampler_bytes(engine: ResolvedEngine, c: OverheadCoefficients, amd: Values) -> Values:
    """Peak bytes of the sampler per row and vocabulary entry. [B]

    Sorting samplers took value and index, twice (topk_topp_sampler.py until 0.16); the CUDA images
    of 0.11.0 and vLLM from 0.17 on do not sort; on CUDA FlashInfer samples from 0.21 on.
    """
    version = release(engine.version)
    if version >= (0, 21):
        return amd * c.sampler_lean + (1.0 - amd) * FLASHINFER_SAMPLER_BYTES
    if version >= (0, 17):
        return c.sampler_lean
    cuda = c.sampler_sorted
    if patch_release(engine.version) == _FLASHINFER_IMAGE:
        cuda = c.sampler_lean
    return amd * c.sampler_sorted + (1.0 - amd) * cuda


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
    found = re.match(r"\D*\d+\.\d+\.(\d+)", version)
    return (*release(version), int(found[1]) if found else 0)
