"""What one engine step computes and moves on one rank: the counts behind its kernels' times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fitcalc.physics.experts import GATED_MATRICES, experts_touched
from fitcalc.physics.kernels import ACTIVATION_BYTES, present
from fitcalc.physics.step import Batch, StepModel
from fitcalc.physics.terms import AttentionTerm, GemmTerm, MoeTerm
from fitcalc.units import Array, Values


class Work(NamedTuple):
    """Arithmetic and traffic of a step. Attributes: ``flops`` [FLOP], ``moved`` [B]."""

    flops: Array
    moved: Array

    @property
    def intensity(self) -> Array:
        """FLOP for each byte that the GPU's memory gives or takes. [FLOP/B]"""
        return self.flops / self.moved


def step_work(  # noqa: PLR0917 - as StepModel.step_s
    step: StepModel,
    decodes: Values,
    context: Values,
    prefill_tokens: Values = 0.0,
    prefill_work: Values = 0.0,
    prefills: Values = 0.0,
) -> Work:
    r"""Count what one GPU does in the time of ``StepModel.step_s``; arguments as there.

    $$F = \sum 2 m n k + 4 h d (c + P), \qquad
    Q = \sum (w n k + 2 m (n + k)) + q (c + m) + Q_{glue}$$

    with experts by the rows that reach them and the weights they touch, as in the kernels' laws. Of
    a pipeline each GPU runs all micro-batches through its share of the layers.

    References:
        S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.
    """
    columns = (decodes, context, prefill_tokens, prefill_work, prefills)
    batch = Batch(*(np.asarray(c, dtype=np.float64) for c in columns)).micro(step.stages)
    mixed, plain = _work(step, batch), _work(step, batch.without_prefill())
    return Work(*(a + (b - a) / step.stages for a, b in zip(plain, mixed, strict=True)))


def ceiling_flops(step: StepModel) -> float:
    """Highest dense peak that a matrix product of this step can reach. [FLOP/s]"""
    peaks = [step.gemms.law.peak_flops, step.head.law.peak_flops]
    if step.experts is not None:
        peaks.append(step.experts.law.peak_flops)
    return float(max(np.max(peak) for peak in peaks))


def _work(step: StepModel, batch: Batch) -> Work:
    sampled = batch.decodes + batch.prefills
    parts = [_gemm(batch.tokens, step.gemms), _gemm(sampled, step.head)]
    if step.attention is not None:
        parts.append(_attention(batch, step.attention))
    if step.experts is not None:
        parts.append(_experts(batch, step.experts))
    glue = step.glue
    around = batch.tokens * glue.token_bytes + batch.decodes * glue.state_bytes
    around = around + sampled * glue.row_bytes
    flops = np.sum(np.broadcast_arrays(*(part.flops for part in parts)), axis=0)
    moved = np.sum(np.broadcast_arrays(*(part.moved for part in parts), around), axis=0)
    return Work(np.asarray(flops), np.asarray(moved))


def _gemm(rows: Array, term: GemmTerm) -> Work:
    m = rows[..., None]
    moved = term.weight_bytes * term.n * term.k + ACTIVATION_BYTES * m * (term.n + term.k)
    return _added(2.0 * m * term.n * term.k, moved * present(m), term.number)


def _attention(batch: Batch, term: AttentionTerm) -> Work:
    sequences, tokens = batch.decodes[..., None], batch.prefill_tokens[..., None]
    seen = np.minimum(batch.context[..., None], sequences * term.window)
    pairs = np.minimum(batch.prefill_work[..., None], tokens * term.window)
    flops = 4.0 * term.heads * (term.decode_dim * seen + term.prefill_dim * pairs)
    return _added(flops, term.kv_bytes_per_token * (seen + sequences + tokens), term.number)


def _experts(batch: Batch, term: MoeTerm) -> Work:
    tokens = batch.tokens[..., None] * term.dp
    rows = tokens * term.topk / term.ep
    params = GATED_MATRICES * term.hidden_size * term.moe_intermediate_size / term.tp
    share = experts_touched(tokens, term.topk, term.experts, term.law.dispersion)
    width = term.hidden_size + term.moe_intermediate_size / term.tp
    moved = term.weight_bytes * params * share * term.experts / term.ep
    return _added(2.0 * params * rows, moved + ACTIVATION_BYTES * rows * width, term.number)


def _added(flops: Values, moved: Values, number: Values) -> Work:
    """Add up over the last axis, the operations."""
    return Work(np.sum(number * flops, axis=-1), np.sum(number * moved, axis=-1))
