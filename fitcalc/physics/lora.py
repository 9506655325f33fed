"""LoRA adapters: the slots that vLLM allocates for them beside the weights.

Source: vllm/lora/layers and vllm/lora/model_manager.py of vLLM 0.33.0. Every linear layer of the
decoder gets room for ``max_loras`` adapters of ``max_lora_rank``, whatever an adapter targets.
"""

from __future__ import annotations

from functools import lru_cache

from fitcalc.catalog.model import LlmModel, TensorKind
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.weights import Parallel, rank_share, stage_layers

_TARGETS = (TensorKind.LINEAR, TensorKind.EXPERT, TensorKind.ROUTER)
_HALF = 2.0
HEAD_AND_EMBEDDING = frozenset({
    "LlamaForCausalLM", "NemotronHForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM",
    "Phi3ForCausalLM", "PhiMoEForCausalLM", "GraniteForCausalLM", "GraniteMoeHybridForCausalLM",
    "MixtralForCausalLM", "JambaForCausalLM",
})  # fmt: skip
"""Classes with slots for embedding and head too (``embedding_modules`` in vllm/model_executor)."""


def lora_stage_bytes(model: LlmModel, engine: ResolvedEngine) -> tuple[float, ...]:
    r"""Bytes of the adapter slots on a rank of each pipeline stage; none without LoRA. [B]

    $$n \sum_W r\,(k_W + n_W) \cdot 2$$ over the matrices $W$ of a rank with $n_W$ outputs and $k_W$
    inputs: A is $r \times k_W$ and B $n_W \times r$, each matrix of a fused layer and each expert
    on its own. Column-parallel layers split B only, row-parallel ones A only.

    Examples:
        >>> from types import SimpleNamespace
        >>> from fitcalc.catalog.model import load_model
        >>> engine = SimpleNamespace(enable_lora=True, tensor_parallel_size=1, max_loras=1,
        ...     pipeline_parallel_size=1, data_parallel_size=1, enable_expert_parallel=False,
        ...     max_lora_rank=16)
        >>> lora_stage_bytes(load_model("llama-3.1-8b"), engine)
        (92356608.0,)
    """
    if not engine.enable_lora:
        return (0.0,) * engine.pipeline_parallel_size
    split = Parallel(
        engine.tensor_parallel_size,
        engine.pipeline_parallel_size,
        engine.data_parallel_size,
        engine.enable_expert_parallel,
    )
    widths = _stage_widths(model, split)
    return tuple(engine.max_loras * engine.max_lora_rank * width * _HALF for width in widths)


@lru_cache(maxsize=4096)
def _stage_widths(model: LlmModel, split: Parallel) -> tuple[float, ...]:
    """Inputs and outputs of every matrix on a rank, summed, on each pipeline stage. [1]"""
    layers = []
    for layer in model.layers:
        shares = [rank_share(t, split) for t in layer.tensors if t.kind in _TARGETS and t.gemm]
        layers.append(sum(count * (rows + cols) for rows, cols, count in shares))
    # Embedding and head hold A and B whole on every rank (logits_processor.py,
    # vocab_parallel_embedding.py).
    outer = model.hidden_size + model.vocab_size if model.architecture in HEAD_AND_EMBEDDING else 0
    widths, first = [], 0
    for stage, count in enumerate(stage_layers(model.num_hidden_layers, split.pp)):
        held = sum(layers[i] for i in model.pattern[first : first + count])
        ends = (stage == 0) + (stage == split.pp - 1)
        widths.append(held + ends * outer)
        first += count
    return tuple(widths)
