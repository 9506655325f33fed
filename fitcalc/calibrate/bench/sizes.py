"""Which sizes are measured: those of served models on a GPU, of a small model on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.units import GIB, KIB


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole small Llama."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    num_heads: int
    kv_heads: int
    head_dim: int = 128


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of every table.

    Attributes:
        models: Models and tensor-parallel ranks whose matrices and heads are timed.
        formats: Number formats of GEMMs.
        rows: Rows of a GEMM.
        batches: Sequences of a decode step.
        contexts: Tokens of each sequence.
        prompts: Tokens of a prompt.
        moved: Bytes of elementwise kernels. [B]
        bandwidth: Bytes of a copy. [B]
        expert_models: Models whose experts are timed.
        expert_rows: Tokens of a step with experts.
        launches: Kernels in a row.
        stack: The transformer.
        stack_batches: Its sequences.
        stack_contexts: Their tokens.
        messages: Bytes of a collective. [B]
        largest: Most bytes of one call. [B]
    """

    models: tuple[tuple[str, int], ...]
    formats: tuple[str, ...]
    rows: tuple[int, ...]
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    prompts: tuple[int, ...]
    moved: tuple[float, ...]
    bandwidth: tuple[float, ...]
    expert_models: tuple[str, ...]
    expert_rows: tuple[int, ...]
    launches: tuple[int, ...]
    stack: Stack
    stack_batches: tuple[int, ...]
    stack_contexts: tuple[int, ...]
    messages: tuple[float, ...]
    largest: float


def powers(base: int, first: int, last: int, scale: float = 1.0) -> tuple[float, ...]:
    """Return scale x base**first .. scale x base**last.

    Examples:
        >>> powers(2, 0, 3)
        (1.0, 2.0, 4.0, 8.0)
    """
    return tuple(scale * float(base) ** exponent for exponent in range(first, last + 1))


def counts(base: int, first: int, last: int) -> tuple[int, ...]:
    """Return powers as whole numbers."""
    return tuple(int(value) for value in powers(base, first, last))


GPU = Sizes(
    models=(("llama-3.1-8b", 1), ("llama-3.1-70b", 8), ("qwen3-32b", 2), ("llama-3.1-70b", 4)),
    formats=("bfloat16", "fp8", "sq"),
    rows=counts(2, 0, 13),
    batches=counts(4, 0, 4),
    contexts=counts(4, 4, 8),
    prompts=counts(2, 7, 14),
    moved=powers(2, 4, 20, KIB),
    bandwidth=powers(4, -2, 1, GIB),
    expert_models=("qwen3-30b-a3b", "mixtral-8x7b-v0.1"),
    expert_rows=counts(4, 0, 6),
    launches=(100, 400),
    stack=Stack(4, 4096, 14336, 128256, 32, 8),
    stack_batches=counts(4, 0, 4),
    stack_contexts=(512, 2048, 8192),
    messages=powers(4, 1, 9, KIB),
    largest=16.0 * GIB,
)
CPU = Sizes(
    models=(("qwen3-0.6b", 1), ("qwen3-1.7b", 2)),
    formats=("bfloat16", "sq"),
    rows=counts(2, 0, 7),
    batches=counts(2, 0, 3),
    contexts=counts(2, 7, 10),
    prompts=counts(2, 6, 9),
    moved=powers(4, 2, 8, KIB),
    bandwidth=powers(2, 14, 17, KIB),
    expert_models=("phi-mini-moe-instruct",),
    expert_rows=counts(2, 0, 7),
    launches=(100, 400),
    stack=Stack(4, 1024, 3072, 32768, 16, 8),
    stack_batches=counts(2, 0, 3),
    stack_contexts=(128, 512, 1024),
    messages=powers(16, 1, 4, KIB),
    largest=GIB / 4.0,
)
