"""Steps that no CUDA graph holds: the host launches every kernel, and the device may wait for it.

The figures live in ``calibration/results/launch.toml``, which ``fitcalc calibrate --from-tables``
writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, cast

import numpy as np

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import Attention, LlmModel, TensorKind
from fitcalc.catalog.tables import Toml, figure, read_toml
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.physics.splits import RankGemms
from fitcalc.physics.terms import LaunchTerm, LinkTerm
from fitcalc.units import Array, Values, to_base

_DEFAULT = "default"
_AROUND = 4.0
"""Norm, rotary, cache write, norm: beside products and attention. [1]"""
_STATE = 3.0
"""Convolution, recurrence, gated norm: vllm/model_executor/layers/mamba. [1]"""
_EXPERTS = 7.0
"""Routing, two to align, product, activation, product, sum: vLLM 0.33.0
model_executor/layers/fused_moe/fused_moe.py. [1]"""
_EXPERT_PRODUCTS = 2.0
_HEAD_NORMS = ("q_norm", "k_norm")
_NINTH = 1.2816
"""The 90 % point of a normal distribution, in standard deviations. [1]"""


class Launch(NamedTuple):
    """Host time of a kernel outside CUDA graphs, and its standard error. [s]"""

    kernel: float
    error: float


class Launching(NamedTuple):
    """The host's own time.

    Attributes:
        step: A step where nothing hides it. [s]
        legacy_sequence: What an engine before V1 adds, a sequence. [s]
        kernels: By GPU, and ``default``.
    """

    step: float
    legacy_sequence: float
    kernels: Mapping[str, Launch]

    def of(self, gpu: Gpu) -> Launch:
        """Return the figure of the host that a GPU, or the whole of a slice, was timed beside."""
        return self.kernels.get(gpu.id.partition(":")[0], self.kernels[_DEFAULT])


@cache
def launching() -> Launching:
    """Return the fitted figures in base units."""
    table = read_toml("calibration", "results", "launch.toml")
    host, kernels = cast("Toml", table["host"]), cast("Toml", table["launch"])
    step, _ = _measured(host["step"], "launch.host.step", table)
    legacy, _ = _measured(host["legacy_sequence"], "launch.host.legacy_sequence", table)
    named = {gpu: _measured(row, f"launch.{gpu}", table) for gpu, row in kernels.items()}
    return Launching(step, legacy, named)


def _measured(row: object, where: str, table: Toml) -> Launch:
    """Read a figure with its standard error."""
    read = figure(row, where, cast("Toml", table["sources"]))
    error = float(cast("float", cast("Toml", row)["standard_error"]))
    return Launch(read.base, to_base(error, read.unit))


def launch_wait_s(busy_s: Values, term: LaunchTerm) -> Array:
    r"""Time for which the device waits for launches. [s]

    $t = \max(0, N t_{launch} + t_{step} - t_{busy})$: the host runs ahead of a device that is
    slower than it, and a faster one waits. Nothing where a CUDA graph holds the step.

    Args:
        busy_s: The rest of the step. [s]
        term: Kernels and what each takes the host.

    Examples:
        >>> term = LaunchTerm(kernels=320.0, kernel_s=30e-6, step_s=0.4e-3)
        >>> round(float(launch_wait_s(6e-3, term)), 6), float(launch_wait_s(20e-3, term))
        (0.004, 0.0)
    """
    return np.maximum(host_s(term) - busy_s, 0.0) * (np.asarray(term.kernels) > 0)


def host_s(term: LaunchTerm) -> Array:
    """Time the host takes to launch a step kernel by kernel. [s]"""
    return np.asarray(term.kernels * term.kernel_s + term.step_s)


def launch_term(
    model: LlmModel,
    gpus: Sequence[Gpu],
    weight: WeightFormat,
    products: RankGemms,
    *,
    links: LinkTerm,
    engine: ResolvedEngine,
    stacked: bool,
) -> LaunchTerm:
    """Return what the host launches in a step: nothing where CUDA graphs hold it.

    Args:
        model: The model.
        gpus: The GPU, or several for a stack.
        weight: Format of the quantized weights.
        products: Matrix products of a rank.
        links: What passes between ranks.
        engine: Whether it runs eagerly.
        stacked: Whether to make a stack with a row for each GPU.
    """
    host = launching()
    between = float(np.asarray(links.all_reduces + links.norm_reduces)) if links.tp > 1 else 0.0
    between += float(np.asarray(links.exchanges))
    rows = [
        (
            eager_kernels(model, weight, products, gpu) + between if engine.enforce_eager else 0.0,
            host.of(gpu).kernel,
        )
        for gpu in gpus
    ]
    kernels, each = np.array(rows).T
    if not stacked:
        return LaunchTerm(float(kernels[0]), float(each[0]), host.step)
    return LaunchTerm(kernels[:, None], each[:, None], host.step)


def eager_kernels(model: LlmModel, weight: WeightFormat, products: RankGemms, gpu: Gpu) -> float:
    """Count the kernels that one rank launches for a step, but for those between ranks. [1]

    Without compilation a product of quantized rows is two kernels: one quantizes them.
    """
    native = weight.native_capability is None or gpu.capability >= weight.native_capability
    rows = float(native and str(weight.compute) != "bf16")
    total = 0.0
    for layer, held, count in zip(model.layers, products.layers, model.layer_counts, strict=True):
        dense = [g for g in held if g.kind is not TensorKind.EXPERT]
        here = _AROUND + sum(g.count * (1.0 + rows * g.quantized) for g in dense)
        here += float(layer.intermediate_size > 0)
        here += sum(t.name.endswith(_HEAD_NORMS) for t in layer.tensors)
        here += 1.0 if isinstance(layer.mixer, Attention) else _STATE
        if layer.moe is not None:
            here += _EXPERTS + _EXPERT_PRODUCTS * rows
        total += count * here
    return total


def doubt_s(term: LaunchTerm, gpu: Gpu, gap_s: float) -> float:
    """Return how much longer the host's figures, which are estimates, may make a step. [s]

    At the 90 % point of their standard errors; nothing where the host holds up no step.

    Args:
        term: What the host launches.
        gpu: The GPU beside it.
        gap_s: Predicted time of a step. [s]
    """
    kernel_s = np.asarray(term.kernel_s) + _NINTH * launching().of(gpu).error
    return float(launch_wait_s(gap_s, term._replace(kernel_s=kernel_s)))
