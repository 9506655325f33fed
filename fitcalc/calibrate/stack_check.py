"""End to end: steps of a whole small transformer, predicted from kernels timed alone.

``stack.csv`` holds a small Llama in plain torch: what a layer computes is vLLM's, what lies
between is not fused as vLLM fuses it, and there is no scheduler. So the ``StepModel`` of plans is
asked for its matrix products and attention, and the rest is counted as torch runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fitcalc.answers import Rejection
from fitcalc.calibrate.own_rows import OwnRows
from fitcalc.calibrate.tables import Table
from fitcalc.catalog.efficiency import Efficiency, load_efficiency
from fitcalc.catalog.gpu import Gpu
from fitcalc.catalog.model import LlmModel, load_model
from fitcalc.errors import FitcalcError
from fitcalc.inputs.engine import EngineArgs
from fitcalc.physics.build import step_model
from fitcalc.physics.host import serving
from fitcalc.physics.kernels import ACTIVATION_BYTES
from fitcalc.physics.step import StepModel
from fitcalc.physics.terms import GlueTerm
from fitcalc.planning.calibrated import StepCheck
from fitcalc.planning.setup import set_up
from fitcalc.units import MICRO, MILLI

KERNELS_PER_LAYER, KERNELS_AROUND = 13.0, 3.0
"""Kernels beside products and attention: 2 norms, 5 of the rotary embedding, 2 of the cache, 2 of
the activation, 2 adds; embedding, norm and argmax around all layers
(``fitcalc.calibrate.bench.stack``). [1]"""
NORMS_AND_ADDS, ROTARY, CACHE, ACTIVATION = 10.0, 10.0, 4.0, 5.0
"""Elements that they read and write of the residual, the heads that turn, the KV heads and the
MLP. [1]"""
LAWS = {
    "gemm": "gemm", "lm_head": "gemm", "attention_decode": "attention_decode",
    "attention_prefill": "attention_prefill", "glue": "glue",
}  # fmt: skip
"""Parts of a step, and the law whose residuals they carry."""
FILES = {
    "gemm": "gemm", "attention_decode": "attn_decode", "attention_prefill": "attn_prefill",
    "glue": "elementwise",
}  # fmt: skip
"""Laws, and the table whose repeats show how steady the device was."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A small Llama: Hugging Face's words for its sizes."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    num_heads: int
    kv_heads: int
    head_dim: int

    def model(self) -> LlmModel:
        """Return it as fitcalc knows models."""
        return load_model(
            {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "torch_dtype": "bfloat16",
                "max_position_embeddings": 131072,
                "hidden_size": self.hidden_size,
                "intermediate_size": self.intermediate_size,
                "num_hidden_layers": self.num_hidden_layers,
                "num_attention_heads": self.num_heads,
                "num_key_value_heads": self.kv_heads,
                "head_dim": self.head_dim,
                "vocab_size": self.vocab_size,
                "tie_word_embeddings": False,
            }
        )


class Step(NamedTuple):
    """One step: measured, predicted, and how far its kernels alone may be off. [s]"""

    phase: str
    batch: int
    ctx: int
    measured: float
    predicted: float
    low: float
    high: float


def check_steps(gpu: Gpu, rows: OwnRows) -> tuple[StepCheck, ...]:
    """Predict every measured step of ``stack.csv`` with the coefficients in force."""
    table = rows.held.get("stack")
    if table is None:
        return ()
    steps = tuple(_steps(gpu, table.equal("dtype", "bfloat16"), rows.noise))
    return tuple(
        checked(step, [s for s in steps if s.phase == step.phase and s is not step])
        for step in steps
    )


def checked(step: Step, others: Sequence[Step]) -> StepCheck:
    r"""Return a step beside its prediction, with an 80 % interval that did not see it.

    Beside its kernels a step has what no kernel timed alone shows: dispatch, cold caches, the load
    of another minute. The other steps of its phase show that as $g = $ measured / predicted:
    $T g_{50}$, and on either side the root of the squares of the kernels' own part and of
    $T (g_{90} - g_{50})$, below with $g_{10}$.
    """
    gaps = [other.measured / other.predicted for other in others] or [1.0]
    low, middle, high = np.quantile(gaps, (0.1, 0.5, 0.9)).tolist()
    time = step.predicted
    below = float(np.hypot(middle * (time - step.low), time * (middle - low)))
    above = float(np.hypot(middle * (step.high - time), time * (high - middle)))
    ends = (max(time * middle - below, 0.0), time * middle + above)
    return StepCheck(
        phase=step.phase,
        batch_size=step.batch,
        ctx=step.ctx,
        measured_ms=step.measured / MILLI,
        predicted_ms=time / MILLI,
        interval_ms=(ends[0] / MILLI, ends[1] / MILLI),
        inside=ends[0] <= step.measured <= ends[1],
    )


def _steps(gpu: Gpu, table: Table, noise: Mapping[str, float]) -> Iterator[Step]:
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "num_heads",
             "kv_heads", "head_dim", "batch_size", "ctx")  # fmt: skip
    sizes = zip(*(table.number(name).astype(int).tolist() for name in names), strict=True)
    times = (table.number("latency_us") * MICRO).tolist()
    laws = load_efficiency(gpu)
    for phase, found, measured in zip(table.text("phase").tolist(), sizes, times, strict=True):
        *shape, batch, ctx = found
        parts = predicted_parts(gpu, Shape(*shape), str(phase), batch, ctx)
        low, high = interval(parts, laws, noise)
        yield Step(str(phase), batch, ctx, measured, sum(parts.values()), low, high)


def predicted_parts(
    gpu: Gpu, shape: Shape, phase: str, batch: int, ctx: int
) -> Mapping[str, float]:
    """Time of each part of a step: ``decode`` of one token each, or ``prefill`` of ctx. [s]"""
    step = torch_step(gpu, shape)
    if phase == "decode":
        parts = step.breakdown(batch, batch * ctx)
    else:
        parts = step.breakdown(0.0, 0.0, batch * ctx, batch * ctx**2 / 2.0, batch)
    return {name: float(parts[name]) for name in LAWS if name in parts}


def torch_step(gpu: Gpu, shape: Shape) -> StepModel:
    """Return the step of a model without scheduler and fused kernels, each as if timed alone."""
    setup = set_up(shape.model(), gpu, EngineArgs())
    if isinstance(setup, Rejection):
        raise FitcalcError(f"measurements stack.csv: {setup.reason}.")
    step = step_model(
        setup.model, [setup.gpu], setup.weight, setup.kv, setup.split,
        engine=setup.engine, fitted=serving()._replace(floor=1.0),
    )  # fmt: skip
    return replace(step, glue=_glue(step, shape))


def _glue(step: StepModel, shape: Shape) -> GlueTerm:
    turned = (shape.num_heads + shape.kv_heads) * shape.head_dim
    elements = (
        NORMS_AND_ADDS * shape.hidden_size
        + ROTARY * turned
        + CACHE * shape.kv_heads * shape.head_dim
        + ACTIVATION * shape.intermediate_size
    )
    return step.glue._replace(
        token_bytes=ACTIVATION_BYTES * shape.num_hidden_layers * elements,
        row_bytes=ACTIVATION_BYTES * shape.vocab_size,
        kernels=KERNELS_PER_LAYER * shape.num_hidden_layers + KERNELS_AROUND,
    )


def interval(
    parts: Mapping[str, float], laws: Efficiency, noise: Mapping[str, float]
) -> tuple[float, float]:
    r"""Return the 80 % interval of a step's kernels from the residuals of their fits. [s]

    All kernels of one law are taken to be off together, different laws independently; what
    disturbs the repeats of one call, other work on the machine, disturbs all calls alike:
    $\sum_i t_i r_{50,i} \pm \sqrt{\sum_i (t_i (r_{90,i} - r_{50,i}))^2 + (\sum_i t_i s_i / 2)^2}$,
    below with $r_{10}$; $s$ is the spread of the repeats, percentile 90 less 10 over the median.

    Args:
        parts: Time of each part. [s]
        laws: The coefficients in force.
        noise: Spread of repeats by table. [1]
    """
    fitted = {
        "gemm": laws.gemm["bf16"].coefficients,
        "attention_decode": laws.attention_decode["bf16"].coefficients,
        "attention_prefill": laws.attention_prefill["bf16"].coefficients,
        "glue": laws.glue.coefficients,
    }
    by_law: dict[str, float] = {}
    for name, seconds in parts.items():
        by_law[LAWS[name]] = by_law.get(LAWS[name], 0.0) + seconds
    times = np.array(list(by_law.values()))
    low, middle, high = np.array([fitted[law].residual for law in by_law]).T
    centre = float(times @ middle)
    shaken = float(times @ np.array([noise.get(FILES[law], 0.0) for law in by_law])) / 2.0
    below = float(np.hypot.reduce([*(times * (middle - low)), shaken]))
    above = float(np.hypot.reduce([*(times * (high - middle)), shaken]))
    return max(centre - below, 0.0), centre + above
