"""One configuration resolved: names to tables, open settings to vLLM's own, a no to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fitcalc.answers import Limit, Rejection
from fitcalc.catalog.formats import (
    Compute,
    KvFormat,
    WeightFormat,
    checkpoint_methods,
    load_kv_format,
    load_weight_format,
)
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.link import LinkKind
from fitcalc.catalog.mig import load_device
from fitcalc.catalog.model import LayerKind, LlmModel, load_model
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine, resolve
from fitcalc.physics.kv_layers import has_state
from fitcalc.physics.splits import divisibility
from fitcalc.physics.weights import Parallel

ModelName = str | Path | Mapping[str, object]
"""An alias, a table id, a Hugging Face id, a path to a config.json or its folder, or a config."""

_HALF = ("bf16", "fp16")
_PLAIN_LAYERS = (LayerKind.FULL, LayerKind.STATE, LayerKind.NONE)
_FP8_CACHE_CAPABILITY = 9.0
"""Below Hopper no backend takes a one-byte cache with MLA, windows or chunks: vLLM 0.33 refuses
to start (vllm/platforms/cuda.py, ``get_attn_backend_cls``; seen on compute capability 8.0)."""
_CHECKPOINT_OF = {"fp8": "fp8_block"}


@dataclass(frozen=True, slots=True)
class Setup:
    """A model on a GPU with every setting resolved.

    Attributes:
        model: The model.
        gpu: The accelerator.
        engine: vLLM's settings, nothing left open.
        weight: Format of the weights.
        kv: Format of the KV cache.
        own_checkpoint: Whether the checkpoint already is in this weight format.
    """

    model: LlmModel
    gpu: Gpu
    engine: ResolvedEngine
    weight: WeightFormat
    kv: KvFormat
    own_checkpoint: bool

    @property
    def split(self) -> Parallel:
        """How the model is split over ranks."""
        return Parallel(
            self.engine.tensor_parallel_size,
            self.engine.pipeline_parallel_size,
            self.engine.data_parallel_size,
            self.engine.enable_expert_parallel,
        )


def set_up(model: ModelName | LlmModel, gpu: str | Gpu, engine: EngineArgs) -> Setup | Rejection:
    """Resolve one configuration.

    Raises:
        UnknownName: no such model, GPU or format.
        InvalidValue: max_model_len beyond the model's own.
    """
    llm = model if isinstance(model, LlmModel) else load_model(model)
    card = gpu if isinstance(gpu, Gpu) else load_device(gpu)
    weight = weight_format(llm, card, engine)
    kv = kv_format(llm, engine)
    refused = unsupported(llm, weight, kv, card)
    if refused is not None:
        return refused
    longest = llm.max_position_embeddings
    if engine.max_model_len is not None and engine.max_model_len > longest:
        fix = f"{llm.id} takes at most {longest} tokens; lower the context"
        raise InvalidValue("max_model_len", engine.max_model_len, fix)
    resolved = resolve(
        engine,
        card,
        longest=longest,
        weight_format=weight.id,
        kv_cache_dtype=kv.id,
        hybrid=has_state(llm),
    )
    refused = divisibility(
        llm,
        weight,
        tp=engine.tensor_parallel_size,
        pp=engine.pipeline_parallel_size,
        dp=engine.data_parallel_size,
        enable_expert_parallel=engine.enable_expert_parallel,
    ) or _beyond_node(card, engine)
    if refused is not None:
        return refused
    return Setup(llm, card, resolved, weight, kv, weight.id in own_formats(llm))


def own_formats(model: LlmModel) -> tuple[str, ...]:
    """Return the format ids that the model's own checkpoint is stored in."""
    return (model.quantization.format,) if model.quantization else _HALF


def weight_format(model: LlmModel, gpu: Gpu, engine: EngineArgs) -> WeightFormat:
    """Return the format asked for, or the checkpoint's, or 16 bits as the GPU has them."""
    found = asked_format(model, engine.quantization)
    if found is not None:
        return found
    half = engine.dtype in ("float16", "half") or "bf16" not in gpu.peak_flops
    return load_weight_format("fp16" if half else "bf16")


def asked_format(model: LlmModel, asked: str | None) -> WeightFormat | None:
    """Return the format asked for, or the checkpoint's; ``None`` = 16 bits.

    Raises:
        UnknownName: no such format.
        InvalidValue: the name leaves the format to a checkpoint that is not quantized.
    """
    own = model.quantization
    # People add the kernel's name in brackets, as logs do: "mxfp4 (Marlin)".
    plain = asked.partition(" (")[0].strip().lower().replace("-", "_") if asked else "auto"
    if plain not in checkpoint_methods():
        return same_checkpoint(model, load_weight_format(plain))
    if own is None and plain != "auto":
        fix = "this checkpoint is not quantized; name a format such as fp8 or int8"
        raise InvalidValue("quantization", asked, fix)
    return None if own is None else load_weight_format(own.format)


def same_checkpoint(model: LlmModel, wanted: WeightFormat) -> WeightFormat:
    """Return the checkpoint's own kind of a format: vLLM calls both kinds of fp8 "fp8"."""
    own = model.quantization
    if own is not None and own.format == _CHECKPOINT_OF.get(wanted.id):
        return load_weight_format(own.format)
    return wanted


def kv_format(model: LlmModel, engine: EngineArgs) -> KvFormat:
    """Return the KV format asked for; ``auto`` adopts the checkpoint's, else 16 bits."""
    asked = engine.kv_cache_dtype
    if asked == "auto" and model.quantization is not None and model.quantization.kv_format:
        return load_kv_format(model.quantization.kv_format)
    return load_kv_format(asked)


def unsupported(model: LlmModel, weight: WeightFormat, kv: KvFormat, gpu: Gpu) -> Rejection | None:
    """Say why the GPU cannot run a format, or ``None`` if it can."""
    for name, needs in ((weight.id, weight.min_capability), (kv.id, kv.min_capability)):
        if gpu.capability and gpu.capability < needs:
            reason = f"{name} needs compute capability {needs:g}; {gpu.id} has {gpu.capability:g}"
            return _no_format(needs, gpu.capability, reason)
    special = next((x.kind for x in model.layers if x.kind not in _PLAIN_LAYERS), None)
    if special and kv.bytes_per_element < 2 and 0 < gpu.capability < _FP8_CACHE_CAPABILITY:
        reason = f"vLLM has no {kv.id} cache for {special.value} layers on {gpu.id}"
        return _no_format(_FP8_CACHE_CAPABILITY, gpu.capability, reason)
    most = weight.max_capability
    if most is not None and gpu.capability > most:
        reason = f"vLLM runs {weight.id} up to compute capability {most:g} only"
        return _no_format(gpu.capability, most, reason)
    if weight.id == "bf16" and "bf16" not in gpu.peak_flops:
        return _no_format(1.0, 0.0, f"{gpu.id} has no bf16; use fp16")
    if not gpu.capability and weight.compute is Compute.FP4:
        return _no_format(1.0, 0.0, f"{gpu.id} runs no {weight.id} in vLLM")
    return None


def _no_format(needed: float, available: float, reason: str) -> Rejection:
    return Rejection(
        limit=Limit.UNSUPPORTED_FORMAT, needed=needed, available=available, reason=reason
    )


def reach(gpu: Gpu) -> int:
    """Return how many GPUs tensor parallelism may span: a node, or a larger link domain. [1]"""
    if gpu.link.kind is LinkKind.PCIE:
        return gpu.gpus_per_node
    return max(gpu.gpus_per_node, gpu.link.domain)


def _beyond_node(gpu: Gpu, engine: EngineArgs) -> Rejection | None:
    """Refuse tensor parallelism beyond the GPUs that share a node or a link domain."""
    most, tp = reach(gpu), engine.tensor_parallel_size
    if tp <= most:
        return None
    reason = f"tensor_parallel_size {tp} passes the {most} {gpu.id} of a node"
    return Rejection(limit=Limit.DIVISIBILITY, needed=tp, available=most, reason=reason)
