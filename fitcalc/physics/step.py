"""The time of one engine step: kernels, links and host composed for a mixed batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fitcalc.physics.attention import attention_decode_s, attention_prefill_s
from fitcalc.physics.collectives import all_reduce_s, exchange_s, point_to_point_s
from fitcalc.physics.experts import moe_s
from fitcalc.physics.kernels import gemm_s, memory_bound_s, present
from fitcalc.physics.launch import launch_wait_s
from fitcalc.physics.terms import (
    AttentionTerm,
    GemmTerm,
    GlueTerm,
    HostTerm,
    LaunchTerm,
    LinkTerm,
    MoeTerm,
)
from fitcalc.units import Array, Values

_MANY = 64
"""Batches from which their place in memory matters. [1]"""
NORM_BYTES = 8.0
"""Two 32-bit sums of squares, of queries and of keys, a token. [B]"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The work of one step on one data-parallel rank.

    Attributes:
        decodes: Sequences that decode one token. [1]
        context: Tokens they attend to, together. [tokens]
        prefill_tokens: Prompt tokens computed. [tokens]
        prefill_work: Sum over chunks of n x (already computed) + n²/2. [pairs]
        prefills: Prompts that get their first token. [1]
    """

    decodes: Array
    context: Array
    prefill_tokens: Array
    prefill_work: Array
    prefills: Array

    @property
    def tokens(self) -> Array:
        """Tokens that pass through the layers. [tokens]"""
        return self.decodes + self.prefill_tokens

    def micro(self, stages: Values) -> Batch:
        """Return one of ``stages`` micro-batches: its share of the decodes, and all prefill."""
        decodes = np.maximum(self.decodes / stages, np.minimum(self.decodes, 1.0))
        return Batch(
            decodes,
            self.context * decodes / np.where(self.decodes > 0, self.decodes, 1.0),
            self.prefill_tokens,
            self.prefill_work,
            self.prefills,
        )

    def without_prefill(self) -> Batch:
        """Return the decodes alone."""
        none = np.zeros_like(self.prefill_tokens)
        return Batch(self.decodes, self.context, none, none, none)


class StepTimes(Protocol):
    """Whatever tells the time of a step: a ``StepModel``, or a law in a test."""

    @property
    def stages(self) -> Values:
        """Pipeline stages. [1]"""
        ...

    @property
    def ahead(self) -> Values:
        """Steps that are scheduled before the running one ends. [1]"""
        ...

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Values:
        """Time of a step, as ``StepModel.step_s``. [s]"""
        ...

    def frontend_s(self, prompt_tokens: Values) -> Values:
        """Time of a request outside the engine. [s]"""
        ...


@dataclass(frozen=True, slots=True)
class StepModel:
    """Step times of one configuration, or of many stacked: built once, then asked with arrays.

    For one configuration every argument may be a number or an array of any shape. For a stack of
    N, arguments broadcast against (N, K): row i is candidate i, column j its j-th batch.
    """

    gemms: GemmTerm
    head: GemmTerm
    attention: AttentionTerm | None
    experts: MoeTerm | None
    glue: GlueTerm
    links: LinkTerm
    host: HostTerm
    launch: LaunchTerm

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Array:
        r"""Time in which every decoding sequence gets one token. [s]

        Kernels, links and what of the host nothing hides come one after another, $T = \sum_i t_i$;
        outside CUDA graphs no step is shorter than the host takes to launch it.
        With p pipeline stages, p micro-batches of 1/p of the decodes are under way at once and one
        of them carries the prefill: $T_0 + (T_{mixed} - T_0) / p$.

        Args:
            decodes: Sequences that decode one token. [1]
            context: Tokens they attend to, together. [tokens]
            prefill_tokens: Prompt tokens computed. [tokens]
            prefill_work: Sum over chunks of n x (already computed) + n²/2. [pairs]
            prefills: Prompts that get their first token. [1]
        """
        columns = (decodes, context, prefill_tokens, prefill_work, prefills)
        whole = Batch(*(np.asarray(c, dtype=np.float64) for c in columns))
        batch = whole.micro(self.stages)
        mixed = _total(self._parts(batch))
        if np.all(np.asarray(self.stages) <= 1.0):
            return mixed
        plain = _total(self._parts(batch.without_prefill()))
        return np.asarray(plain + (mixed - plain) / self.stages)

    @property
    def stages(self) -> Values:
        """Pipeline stages. [1]"""
        return self.links.stages

    @property
    def ahead(self) -> Values:
        """Steps that are scheduled before the running one ends: 1 = asynchronous. [1]"""
        return self.host.overlap

    def breakdown(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> dict[str, Array]:
        """Time of each part of one micro-batch's step. [s]

        Keys: ``gemm``, ``lm_head``, ``attention_decode``, ``attention_prefill``, ``experts``,
        ``glue``, ``link``, ``host`` (of an asynchronous engine what the device waits for),
        ``launch`` (outside CUDA graphs, what the device waits for launches).
        """
        columns = (decodes, context, prefill_tokens, prefill_work, prefills)
        whole = Batch(*(np.asarray(c, dtype=np.float64) for c in columns))
        return self._parts(whole.micro(self.stages))

    def _parts(self, batch: Batch) -> dict[str, Array]:
        parts = {
            "gemm": _gemm(batch.tokens, self.gemms),
            "lm_head": _gemm(batch.decodes + batch.prefills, self.head),
            "glue": self._glue(batch),
            "link": self._link(batch),
            "host": self._host(batch),
        }
        if self.attention is not None:
            parts["attention_decode"] = _attention_decode(batch, self.attention)
            parts["attention_prefill"] = _attention_prefill(batch, self.attention)
        if self.experts is not None:
            parts["experts"] = _experts(batch, self.experts)
        parts["launch"] = launch_wait_s(_total(parts), self.launch) * (batch.tokens > 0)
        return parts

    def frontend_s(self, prompt_tokens: Values) -> Values:
        """Time a request spends in the front end before its first token. [s]"""
        return self.host.frontend_s + self.host.token_s * prompt_tokens

    def _glue(self, batch: Batch) -> Array:
        term = self.glue
        sampled = batch.decodes + batch.prefills
        moved = (
            batch.tokens * term.token_bytes
            + (batch.decodes + np.minimum(batch.prefills, batch.prefill_tokens)) * term.state_bytes
            + sampled * term.row_bytes
        )
        floors = (term.kernels - 1.0) * term.law.t0_s * (batch.tokens > 0)
        return np.asarray(floors + memory_bound_s(moved, term.law))

    def _link(self, batch: Batch) -> Array:
        term = self.links
        moved = batch.tokens * term.token_bytes
        reduced = term.all_reduces * all_reduce_s(moved, term.tp, term.all_reduce)
        squares = np.broadcast_to(batch.tokens * NORM_BYTES, np.shape(moved))
        reduced = reduced + term.norm_reduces * all_reduce_s(squares, term.tp, term.all_reduce)
        meetings = (term.all_reduces + term.norm_reduces) * present(moved * (term.tp - 1.0))
        waited = meetings * term.skew_s
        met = term.exchanges * exchange_s(moved * term.dp, term.dp, term.exchange)
        logits = (batch.decodes + batch.prefills) * term.row_bytes
        gathered = exchange_s(logits, term.tp, term.gather)
        sent = (term.stages - 1.0) * point_to_point_s(moved, term.send)
        return np.asarray(reduced + waited + met + gathered + sent)

    def _host(self, batch: Batch) -> Array:
        term = self.host
        return np.asarray(
            term.step_s * (1.0 - term.overlap)
            + term.sequence_s * (batch.decodes + batch.prefills)
            + term.prompt_s * batch.prefills
            + term.chunk_s * batch.prefill_tokens
        )


def _sum(number: Values, seconds: Values) -> Array:
    """Add up over the last axis, the operations. [s]"""
    total: Array = np.sum(number * seconds, axis=-1)
    return total


def _total(parts: Mapping[str, Array]) -> Array:
    """Parts one after the other. [s]"""
    return np.asarray(sum(parts.values()))


def _each(batches: Array, number: Values) -> Array:
    """Give a value of each batch to every operation, along the last axis.

    Many batches of one configuration lie side by side in memory: NumPy is slow over short rows.
    """
    column = batches[..., None]
    if np.ndim(number) > 1 or batches.size < _MANY:
        return column
    return np.asfortranarray(np.broadcast_to(column, (*batches.shape, *np.shape(number))))


def _gemm(tokens: Array, term: GemmTerm) -> Array:
    rows = _each(tokens, term.number)
    return _sum(term.number, gemm_s(rows, term.n, term.k, term.weight_bytes, term.law))


def _attention_decode(batch: Batch, term: AttentionTerm) -> Array:
    sequences = _each(batch.decodes, term.number)
    seen = np.minimum(batch.context[..., None], sequences * term.window)
    return _sum(
        term.number,
        attention_decode_s(
            sequences, seen, term.heads, term.decode_dim, term.kv_bytes_per_token, term.decode
        ),
    )


def _attention_prefill(batch: Batch, term: AttentionTerm) -> Array:
    tokens = _each(batch.prefill_tokens, term.number)
    pairs = np.minimum(batch.prefill_work[..., None], tokens * term.window)
    return _sum(
        term.number,
        attention_prefill_s(
            pairs, tokens, term.heads, term.prefill_dim, term.kv_bytes_per_token, term.prefill
        ),
    )


def _experts(batch: Batch, term: MoeTerm) -> Array:
    tokens = _each(batch.tokens, term.number) * term.dp
    return _sum(
        term.number,
        moe_s(
            tokens,
            term.hidden_size,
            term.moe_intermediate_size,
            term.topk,
            term.experts,
            term.weight_bytes,
            term.law,
            tp=term.tp,
            ep=term.ep,
        ),
    )
