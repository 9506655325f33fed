"""What each layer keeps of the past: the page it allocates for every block.

Source: vllm/v1/kv_cache_interface.py, vllm/platforms/interface.py and cuda.py of vLLM 0.33.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fitcalc.catalog.formats import KvFormat, load_kv_format
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import Attention, LayerKind, LlmModel, State, StateKind
from fitcalc.inputs.engine import ResolvedEngine, release

BLOCK_SIZE = 16
"""Default tokens a block (vllm/config/cache.py, ``DEFAULT_BLOCK_SIZE``)."""
SPARSE_MLA_BLOCK_SIZE = 64
"""Block of the sparse MLA backends (vllm/v1/attention/backends/mla/flashmla_sparse.py)."""
STATE_MLA_ALIGN = 128
"""Hybrids of MLA and state align blocks to it (vllm/platforms/interface.py; 64 before 0.26)."""
_FP8_BLOCK_SIZE = 64
"""Block of FlashMLA, and of FlashAttention 4 for fp8 heads of 512, both on Hopper."""
_WIDE_HEAD = 512
_CHECKPOINT_ALIGN = 64
"""FlashInfer's gated delta net keeps states inside a prefill at multiples of it (gdn_attn.py)."""
_CHECKPOINT_KEY_HEAD = 128
_PLAIN_CACHE = ("FalconForCausalLM",)
"""Attention that is built without the cache's settings keeps 16 bits (models/falcon.py:173)."""
_INDEXER_GROUP, _INDEXER_SCALE_BYTES = 128, 4
"""The sparse indexer keeps fp8 keys and a 4-byte scale for each 128 (deepseek_v2.py)."""
_DS_MLA_GROUP = 128
"""``fp8_ds_mla``: fp8 latent, a 4-byte scale for each 128, and a 16-bit rope part."""
_HALF_BYTES, _SCALE_BYTES = 2, 4
_GROWING = (LayerKind.FULL, LayerKind.MLA)
_DESKTOP_BLACKWELL, _BLACKWELL, _HOPPER = 12, 10, 9


@dataclass(frozen=True, slots=True)
class LayerCache:
    """What one layer allocates: a page of ``page_bytes`` for every block. [B]

    ``block_size`` is tokens a block holds (0 for a state, which is one block whatever the
    length); ``window`` the sliding window or chunk. [tokens] ``lone`` marks states of a pipeline
    stage without attention, which share no group with others.
    """

    kind: LayerKind
    page_bytes: int
    block_size: int
    window: int | None = None
    lone: bool = False

    @property
    def grows(self) -> bool:
        """Whether it keeps every token."""
        return self.kind in _GROWING


def has_state(model: LlmModel) -> bool:
    """Whether any layer keeps a recurrent state (vLLM calls such models hybrid)."""
    return any(isinstance(layer.mixer, State) for layer in model.layers)


def attention_bytes_per_token(a: Attention, kv: KvFormat, tp: int, *, packed_mla: bool) -> int:
    """Cache bytes of one token in one attention layer on one rank. [B]

    Keys and values of ``max(1, kv heads // tp)`` heads; an MLA layer keeps one latent and one
    rope part that every rank repeats, and a sparse one its indexer's keys besides
    (vllm/v1/kv_cache_interface.py; vllm/model_executor/layers/attention/mla_attention.py).

    Args:
        a: The layer.
        kv: How keys and values are stored.
        tp: Tensor parallel ranks.
        packed_mla: Whether a one-byte MLA entry is stored as ``fp8_ds_mla``.
    """
    if a.kind is not LayerKind.MLA:
        heads = max(1, a.num_key_value_heads // tp)
        element = kv.bytes_per_element + kv.scale_bytes_per_element
        per_head = (a.head_dim + a.v_head_dim) * element + kv.scale_bytes_per_head
        return math.ceil(heads * per_head)
    latent, rope = a.kv_lora_rank, a.qk_rope_head_dim
    if kv.mla_bytes_per_token is not None:
        entry = kv.mla_bytes_per_token
    elif packed_mla and a.index_topk and kv.bytes_per_element == 1:
        entry = latent + latent // _DS_MLA_GROUP * _SCALE_BYTES + rope * _HALF_BYTES
    else:
        entry = (latent + rope) * kv.bytes_per_element
    index = a.index_head_dim + a.index_head_dim // _INDEXER_GROUP * _INDEXER_SCALE_BYTES
    return math.ceil(entry) + index


def state_bytes(s: State, tp: int, speculative: int = 0) -> int:
    """Bytes of one sequence's state in one layer on one rank. [B]

    Source: vllm/model_executor/layers/mamba/mamba_utils.py, ``MambaStateShapeCalculator``:
    speculative tokens lengthen the convolution; Mamba-2 copies groups that tp does not divide.
    """
    total = 0
    for part in s.shapes:
        shape = list(part.shape)
        if part.name == "conv":
            if s.kind is StateKind.MAMBA2:
                shape[part.tp_axis] += _copied_groups(s, shape[part.tp_axis], tp)
            if s.kind is not StateKind.MAMBA1:
                shape[-1] += speculative
        shape[part.tp_axis] = math.ceil(shape[part.tp_axis] / tp)
        total += math.prod(shape) * part.dtype_bytes
    return total


def _copied_groups(s: State, conv: int, tp: int) -> int:
    groups = s.num_groups or (conv - s.num_heads * s.head_dim) // (2 * s.state_size)
    return 0 if groups % tp == 0 else 2 * (tp - groups) * s.state_size


def layer_caches(
    model: LlmModel, engine: ResolvedEngine, kv: KvFormat, gpu: Gpu
) -> tuple[LayerCache | None, ...]:
    """Return what each distinct layer keeps, page and block chosen as vLLM's backends choose."""
    tp, version = engine.tensor_parallel_size, release(engine.version)
    if model.architecture in _PLAIN_CACHE:
        kv = load_kv_format("bf16")
    mixers = [layer.mixer for layer in model.layers]
    attentions = [m for m in mixers if isinstance(m, Attention) and not m.shares_kv]
    packed = gpu.capability < _BLACKWELL
    per_token = {a: attention_bytes_per_token(a, kv, tp, packed_mla=packed) for a in attentions}
    block = engine.block_size or _default_block_size(attentions, engine, kv, gpu)
    states = {
        s: state_bytes(s, tp, engine.num_speculative_tokens) for s in mixers if isinstance(s, State)
    }
    page = 0
    if states and attentions:
        main = next((a for a in attentions if a.kind is LayerKind.FULL), attentions[0])
        align = _state_align(main, block, engine)
        if gdn_checkpoints(model, engine, gpu):
            align = math.lcm(align, _CHECKPOINT_ALIGN)
        token = per_token[main]
        largest = max(states.values())
        block = max(block, align * math.ceil(largest / (align * token)))
        page = block * token
    grows = LayerKind.MLA, LayerKind.FULL
    whole = any(a.kind in grows for a in attentions)
    promoted = whole and version < (0, 14)  # then VLLM_ALLOW_CHUNKED_LOCAL_ATTN_... was off
    caches: list[LayerCache | None] = []
    for mixer in mixers:
        if isinstance(mixer, State):
            caches.append(LayerCache(LayerKind.STATE, max(page, states[mixer]), 0))
        elif mixer is None or mixer.shares_kv:
            caches.append(None)
        elif mixer.kind in grows or (promoted and mixer.kind is LayerKind.CHUNKED):
            kind = mixer.kind if mixer.kind in grows else LayerKind.FULL
            caches.append(LayerCache(kind, block * per_token[mixer], block))
        else:
            caches.append(LayerCache(mixer.kind, block * per_token[mixer], block, mixer.window))
    return tuple(caches)


def lone_states(
    model: LlmModel, engine: ResolvedEngine, layers: list[int], caches: list[LayerCache | None]
) -> list[LayerCache | None]:
    """Leave the states of a pipeline stage without attention as they are, unaligned.

    Each rank aligns its blocks to the attention it holds (vllm/platforms/interface.py,
    ``update_block_size_for_backend``); with prefix caching the states' blocks differ as well.

    Args:
        model: The model.
        engine: Its settings.
        layers: For each layer of the stage, which distinct layer of the model it is.
        caches: What each layer of the stage keeps.
    """
    if any(cache is not None and cache.kind is not LayerKind.STATE for cache in caches):
        return caches
    tp, drafted, lone = (
        engine.tensor_parallel_size,
        engine.num_speculative_tokens,
        engine.enable_prefix_caching,
    )
    return [
        LayerCache(LayerKind.STATE, state_bytes(mixer, tp, drafted), 0, lone=lone)
        if isinstance(mixer := model.layers[i].mixer, State)
        else None
        for i in layers
    ]


def gdn_checkpoints(model: LlmModel, engine: ResolvedEngine, gpu: Gpu) -> bool:
    """Whether gated delta nets keep a state inside a prefill: where FlashInfer computes them.

    Source: vllm/model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, from 0.33 on.
    """
    states = [layer.mixer for layer in model.layers if isinstance(layer.mixer, State)]
    if not states or any(s.kind is not StateKind.GDN for s in states):
        return False
    major = int(gpu.capability)
    flashinfer = major == _HOPPER or (
        major in (_BLACKWELL, _DESKTOP_BLACKWELL)
        and all(s.state_size == _CHECKPOINT_KEY_HEAD for s in states)
    )
    return flashinfer and engine.enable_prefix_caching and release(engine.version) >= (0, 33)


def state_blocks(model: LlmModel, engine: ResolvedEngine, gpu: Gpu) -> int:
    """State blocks that a request reserves in each state group. [1]

    One, and one a speculative token; with prefix caching another, and one more where a state is
    kept inside a prefill (vllm/v1/kv_cache_interface.py, ``MambaSpec.max_memory_usage_bytes``;
    for Mamba-2 layers/mamba/mamba_mixer2.py, from 0.32 on).
    """
    mamba2 = release(engine.version) >= (0, 32) and any(
        isinstance(layer.mixer, State) and layer.mixer.kind is StateKind.MAMBA2
        for layer in model.layers
    )
    cached = 0
    if engine.enable_prefix_caching:
        cached = 2 if mamba2 or gdn_checkpoints(model, engine, gpu) else 1
    return 1 + cached + engine.num_speculative_tokens


def _default_block_size(
    attentions: list[Attention], engine: ResolvedEngine, kv: KvFormat, gpu: Gpu
) -> int:
    """Tokens a block where --block-size is open: 16, or what the attention backend takes.

    Sparse MLA takes 64; dense MLA took 64 on Hopper until 0.11.1 (FlashMLA) and takes it still
    where the cache is quantized, 128 on data-centre Blackwell until 0.14 (CUTLASS), 64 until 0.17
    and 32 since (FlashInfer) (vllm/platforms/cuda.py). Fp8 heads of 512 take 64 on Hopper from
    0.31 on (vllm/v1/attention/backends/flash_attn.py).
    """
    version, major = release(engine.version), int(gpu.capability)
    quantized = kv.bytes_per_element < _HALF_BYTES
    if not any(a.kind is LayerKind.MLA for a in attentions):
        wide = any(a.head_dim == _WIDE_HEAD for a in attentions)
        tiled = wide and quantized and major == _HOPPER and version >= (0, 31)
        return _FP8_BLOCK_SIZE if tiled else BLOCK_SIZE
    if any(a.index_topk for a in attentions):
        return SPARSE_MLA_BLOCK_SIZE
    if major == _BLACKWELL:
        return 128 if version < (0, 15) else 64 if version < (0, 18) else 32
    flashmla = version <= (0, 11) and not engine.version.startswith("0.11.2")
    if major == _HOPPER and (quantized or flashmla):
        return _FP8_BLOCK_SIZE
    return BLOCK_SIZE


def _state_align(main: Attention, block: int, engine: ResolvedEngine) -> int:
    """Return the multiple of which a hybrid's attention block must be. [tokens]"""
    if main.kind is not LayerKind.MLA:
        return block
    return max(block, STATE_MLA_ALIGN if release(engine.version) >= (0, 26) else 64)
