"""LoRA adapters: the slots that vLLM allocates for them, and the products that they add to a step.

Source: vllm/lora/layers and vllm/lora/model_manager.py of vLLM 0.33.0. Every linear layer of the
decoder gets room for ``max_loras`` adapters of ``max_lora_rank``, whatever an adapter targets.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np

from fitcalc.catalog.laws import GemmLaw
from fitcalc.catalog.model import LlmModel, TensorKind
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.kernels import ACTIVATION_BYTES
from fitcalc.physics.splits import RankGemms
from fitcalc.physics.terms import GemmTerm
from fitcalc.physics.weights import Parallel, rank_share, stage_layers
from fitcalc.units import Array, Values

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


def adapter_gemms(
    model: LlmModel, products: RankGemms, engine: ResolvedEngine, law: GemmLaw
) -> GemmTerm:
    r"""Return the products of adapters in a step: $x A^T$ and $(x A^T) B^T$ beside every matrix.

    $$Q = 2 a r (s k + n) + 2 m (k + 2 s r + n), \qquad F = 2 m r (s k + n)$$

    of a (fused) matrix with k inputs, n outputs and s parts on this rank, for m tokens: each token
    goes through one adapter, and the weights of all a active adapters are read once. All slots are
    taken to be active. Both are GEMMs by the law of 16-bit ones, launched one after the other; the
    parts of a fused matrix share both launches. Adapters on experts, embedding and head take
    memory, but no time here.

    Args:
        model: The model.
        products: Its matrices on a rank.
        engine: ``max_loras`` and ``max_lora_rank``.
        law: Of 16-bit GEMMs.

    References:
        E. Hu et al., "LoRA", ICLR 2022; L. Chen et al., "Punica", MLSys 2024;
        vllm/lora/punica_wrapper/punica_gpu.py (``add_lora_linear``) of vLLM 0.33.0.
    """
    rank = float(engine.max_lora_rank)
    cells: dict[tuple[float, float], float] = {}
    for layer, held, count in zip(model.layers, products.layers, model.layer_counts, strict=True):
        parts = Counter(tensor.gemm for tensor in layer.tensors)
        for gemm in held:
            if gemm.kind is TensorKind.LINEAR:
                for key in ((rank * parts[gemm.label], gemm.k), (gemm.n, rank)):
                    cells[key] = cells.get(key, 0.0) + count * gemm.count
    n, k = (np.array(column) for column in zip(*cells, strict=True))
    number = np.array(list(cells.values()), dtype=np.float64)
    return GemmTerm(n, k, np.full(len(n), ACTIVATION_BYTES * engine.max_loras), number, law)


def beside(one: GemmTerm, other: GemmTerm) -> GemmTerm:
    """Return the products of both terms as one."""
    laws = zip(one.law, other.law, strict=True)
    return GemmTerm(
        n=np.concatenate([one.n, other.n]),
        k=np.concatenate([one.k, other.k]),
        weight_bytes=np.concatenate([one.weight_bytes, other.weight_bytes]),
        number=np.concatenate([one.number, other.number]),
        law=GemmLaw(*(_each(a, one, b, other) for a, b in laws)),
    )


def _each(a: Values, one: GemmTerm, b: Values, other: GemmTerm) -> Array:
    """Coefficients of both terms, an operation each along the last axis."""
    return np.concatenate(
        [
            np.broadcast_to(x, (*np.shape(x)[:-1], np.shape(term.number)[-1]))
            for x, term in ((a, one), (b, other))
        ],
        axis=-1,
    )


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
