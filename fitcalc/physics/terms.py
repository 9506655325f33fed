"""What one engine step computes on one rank, written as rows that the kernel laws take.

A term is a tuple of arrays whose last axis runs over the distinct operations of a model (GEMMs,
attention layers, expert layers); leading axes, if any, run over candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.units import Array, Values


class GemmTerm(NamedTuple):
    """Dense GEMMs: out and in features of the rank, stored bytes a weight, how many a step."""

    n: Values
    k: Values
    weight_bytes: Values
    number: Values
    law: GemmLaw


class AttentionTerm(NamedTuple):
    """Attention layers: heads of the rank, mean width of key and value, cache, window, count."""

    heads: Values
    decode_dim: Values
    prefill_dim: Values
    kv_bytes_per_token: Values
    window: Values
    number: Values
    decode: AttentionDecodeLaw
    prefill: AttentionPrefillLaw


class MoeTerm(NamedTuple):
    """Expert layers: shapes before sharding, ranks that share them, how many a step."""

    hidden_size: Values
    moe_intermediate_size: Values
    topk: Values
    experts: Values
    weight_bytes: Values
    tp: Values
    ep: Values
    dp: Values
    number: Values
    law: MoeLaw


class GlueTerm(NamedTuple):
    """Kernels that only move bytes.

    Attributes:
        token_bytes: Bytes a token moves in all norms, activations and rotations. [B]
        state_bytes: Bytes a sequence's recurrent states move in a step, read and written. [B]
        row_bytes: Bytes a sampled row moves in softmax and sampling. [B]
        kernels: Launches a step. [1]
        law: Coefficients.
    """

    token_bytes: Values
    state_bytes: Values
    row_bytes: Values
    kernels: Values
    law: MemoryLaw


class LinkTerm(NamedTuple):
    """Bytes between ranks.

    Attributes:
        token_bytes: Bytes of a token's residual. [B]
        row_bytes: Bytes of a sampled row's logits. [B]
        tp: Ranks of an all-reduce. [1]
        all_reduces: All-reduces of the residual a step. [1]
        norm_reduces: All-reduces a step of the sums of norms that span the ranks. [1]
        dp: Data-parallel ranks whose tokens meet at the experts. [1]
        exchanges: Gathers and scatters of those tokens a step. [1]
        stages: Pipeline stages. [1]
        skew_s: Time for which the ranks of an all-reduce wait for the last of them. [s]
        all_reduce: Law of the all-reduce.
        gather: Law of gathering the logits over tp.
        exchange: Law of gathers and scatters over dp.
        send: Law of a send to the next stage.
    """

    token_bytes: Values
    row_bytes: Values
    tp: Values
    all_reduces: Values
    norm_reduces: Values
    dp: Values
    exchanges: Values
    stages: Values
    skew_s: Values
    all_reduce: AllReduceLaw
    gather: ExchangeLaw
    exchange: ExchangeLaw
    send: ExchangeLaw


class HostTerm(NamedTuple):
    """What a step and a request cost beside kernels and links, fitted to end-to-end runs.

    Attributes:
        step_s: Scheduling and launch of a step, hidden where the engine is asynchronous. [s]
        sequence_s: Input preparation, sampling and output of a sequence. [s]
        prompt_s: Extra of a prompt that gets its first token: no full CUDA graph, new state. [s]
        chunk_s: Extra of a prompt token that is computed. [s]
        overlap: 1 = asynchronous scheduling, 0 = synchronous. [1]
        frontend_s: HTTP and first answer, a request. [s]
        token_s: Tokenizing, a prompt token. [s]
    """

    step_s: Values
    sequence_s: Values
    prompt_s: Values
    chunk_s: Values
    overlap: Values
    frontend_s: Values
    token_s: Values


class LaunchTerm(NamedTuple):
    """What the host launches one by one where no CUDA graph holds the step.

    Attributes:
        kernels: Kernels of a step; 0 = a graph holds them. [1]
        kernel_s: Dispatch and launch of one. [s]
        step_s: Scheduling, inputs and sampling of a step. [s]
    """

    kernels: Values
    kernel_s: Values
    step_s: Values


T = TypeVar("T", bound="tuple[object, ...]")


def join(parts: Sequence[tuple[T, int]], operations: tuple[int, ...]) -> T:
    """Join terms of candidates: axis 0 the candidate, axis 1 free for batch sizes, then operations.

    Args:
        parts: A term, and how many candidates it speaks for.
        operations: Shape of the last axis, the most operations of any candidate; fewer are filled
            up by a number of zero. Empty where a term has no operations.
    """
    first = parts[0][0]
    names: tuple[str, ...] = getattr(first, "_fields", ())
    cells: list[object] = []
    for i, cell in enumerate(first):
        if isinstance(cell, tuple):
            cells.append(join([(cast("T", term[i]), count) for term, count in parts], operations))
        else:
            column = [(cast("Values", term[i]), n) for term, n in parts]
            zeros = names[i] == "number"
            wide = [
                np.broadcast_to(_filled(c, operations, zeros=zeros), (n, 1, *operations))
                for c, n in column
            ]
            cells.append(np.concatenate(wide))
    return type(first)(*cells)  # type: ignore[arg-type]


def _filled(cell: Values, operations: tuple[int, ...], *, zeros: bool) -> Array:
    """Return a cell with its last axis as long as asked, unless one number stands for all."""
    array = np.asarray(cell, dtype=np.float64)
    last = array.shape[-1:]
    if not operations or last in ((), operations) or (last == (1,) and not zeros):
        return array
    width = [(0, 0)] * (array.ndim - 1) + [(0, operations[0] - array.shape[-1])]
    return np.pad(array, width, mode="constant" if zeros else "edge")


def pick(term: T, index: NDArray[np.intp]) -> T:
    """Return the candidates at these rows of a joined term."""
    cells = [
        pick(cell, index) if isinstance(cell, tuple) else cast("Array", cell)[index]
        for cell in term
    ]
    return type(term)(*cells)
