r"""What vLLM keeps of a card beside weights and KV cache.

From vllm/v1/worker/gpu_worker.py, ``determine_available_memory``: the profile run computes
max_num_batched_tokens tokens and samples max_num_seqs rows; its peak, what it left behind, and from
0.20 on an estimate of the CUDA graphs are taken off the budget. Coefficients are fitted to start-up
logs (calibration/results/memory.toml).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.gpu import Gpu, Vendor
from fitcalc.catalog.model import LlmModel
from fitcalc.catalog.overheads import OverheadCoefficients
from fitcalc.inputs.engine import PerformanceMode, ResolvedEngine, release
from fitcalc.physics.activation import activation_bytes
from fitcalc.units import Array, Values

_GRAPH_FINE, _GRAPH_COARSE, _GRAPH_TURN = 8, 16, 256
_GRAPH_LARGEST, _GRAPH_LARGEST_BLACKWELL = 512.0, 1024.0
_BLACKWELL = 10
_GRAPHS_OF_512 = 51.0
_INTERACTIVE_SIZES = 32.0
_FUSED_CAPABILITIES = (9.0, 10.0)


@dataclass(frozen=True, slots=True)
class GpuColumns:
    """GPUs side by side, as arrays of one row each.

    ``memory`` is the driver's total, ``visible`` what a process sees, ``start`` what is taken
    before vLLM looks [B]; ``amd``, ``nvlink``, ``fused`` (fuses all-reduces) and ``blackwell``
    are 1 or 0.
    """

    memory: Array
    visible: Array
    start: Array
    amd: Array
    nvlink: Array
    fused: Array
    blackwell: Array


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
        start=np.where(nvidia, c.start, 0.0),
        amd=np.array([float(gpu.vendor is Vendor.AMD) for gpu in gpus]),
        nvlink=np.array([float(gpu.link.kind == "nvlink") for gpu in gpus]),
        fused=np.array([float(gpu.capability in _FUSED_CAPABILITIES) for gpu in gpus]),
        blackwell=np.array([float(int(gpu.capability) == _BLACKWELL) for gpu in gpus]),
    )


def overheads(
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
        activation=activation_bytes(
            model, weight_format, engine, c, tokens=tokens, seqs=seqs, amd=gpus.amd
        ),
        non_torch=gpus.amd * amd + (1 - gpus.amd) * nvidia,
        cuda_graph=graph_bytes(model, engine, gpus, c, seqs),
        budgeted=release(engine.version) >= (0, 20),
    )


def graph_sizes(
    max_num_seqs: Values, largest: Values = _GRAPH_LARGEST, *, every: float = 0.0
) -> Values:
    """Batch sizes that are captured: 1, 2, 4, every 8 below 256, every 16 up to the largest. [1]

    The largest is 512, or 1024 on data-centre Blackwell from vLLM 0.28 on, and at most twice
    max_num_seqs (vllm/config/vllm.py, ``_set_cudagraph_sizes``). With ``every``, every size up to
    it is captured too.

    Examples:
        >>> float(graph_sizes(1024.0)), float(graph_sizes(1024.0, every=32.0))
        (51.0, 76.0)
    """
    most = np.minimum(2.0 * max_num_seqs, largest)
    fine = np.floor(np.minimum(most, _GRAPH_TURN - 1) / _GRAPH_FINE)
    coarse = np.maximum(np.floor((most - _GRAPH_TURN) / _GRAPH_COARSE) + 1, 0.0)
    first = np.minimum(most, every)
    small = np.maximum(first - np.floor(first / _GRAPH_FINE), np.minimum(most, 3.0))
    sizes: Values = small + fine + coarse
    return sizes


def graph_bytes(
    model: LlmModel,
    engine: ResolvedEngine,
    gpus: GpuColumns,
    c: OverheadCoefficients,
    max_num_seqs: Values,
) -> Values:
    """CUDA graphs of every captured size; none with --enforce-eager. [B]

    On ROCm no estimate is taken off the budget. With LoRA every size is captured with and without
    adapters (vllm/v1/worker/gpu/cudagraph_utils.py, ``lora_capture_cases``).
    """
    if engine.enforce_eager:
        return np.zeros_like(gpus.amd * max_num_seqs)
    version = release(engine.version)
    layers = model.num_hidden_layers / engine.pipeline_parallel_size
    nvidia = c.graph + (c.graph_moe if model.is_moe else 0.0)
    amd = 0.0 if version >= (0, 20) else c.graph_amd
    per_size = (gpus.amd * amd + (1 - gpus.amd) * nvidia) / _GRAPHS_OF_512
    more = gpus.blackwell if version >= (0, 28) else 0.0
    largest: Values = _GRAPH_LARGEST + more * (_GRAPH_LARGEST_BLACKWELL - _GRAPH_LARGEST)
    if engine.enable_lora:
        per_size = 2.0 * per_size
    interactive = engine.performance_mode is PerformanceMode.INTERACTIVITY
    every = _INTERACTIVE_SIZES if interactive else 0.0
    return per_size * layers * graph_sizes(max_num_seqs, largest, every=every)
