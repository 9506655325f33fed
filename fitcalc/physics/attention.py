"""Attention: how long one layer's takes on one GPU, of new tokens and of prompts.

Each law is a floor of time plus work over attainable speed, elementwise as ``physics.kernels``.
"""

from __future__ import annotations

import numpy as np

from fitcalc.catalog.laws import AttentionDecodeLaw, AttentionPrefillLaw
from fitcalc.physics.kernels import present, smooth_max
from fitcalc.units import Values


def attention_decode_s(  # noqa: PLR0917 - the factors of one formula
    sequences: Values,
    context_tokens: Values,
    num_heads: Values,
    head_dim: Values,
    kv_bytes_per_token: Values,
    law: AttentionDecodeLaw,
) -> Values:
    r"""Time of one layer's decode attention on one rank. [s]

    $$t_0 + \max\left(\frac{4 h d c}{\eta_f \pi}, \frac{q (c + s b)}{\eta_b \beta}\right)$$

    Args:
        sequences: Sequences that decode, $b$. [1]
        context_tokens: Tokens that all of them attend to, together, $c$. [tokens]
        num_heads: Query heads of the rank, $h$. [1]
        head_dim: Mean of the key's and the value's width, $d$; with MLA (576 + 512) / 2. [1]
        kv_bytes_per_token: Key and value bytes of this layer and rank, $q$: with heads
            2 x KV heads x head_dim x bytes, with MLA 576 x bytes (read once for all heads). [B]
        law: Coefficients.

    References:
        Y. Hong et al., "FlashDecoding++", MLSys 2024, on why decode attention is bound by bytes.

    Examples:
        >>> ideal = AttentionDecodeLaw(1e15, 4e12, 1.0, 1.0, 0.0, 0.0)
        >>> round(attention_decode_s(64, 64 * 8192, 32, 128, 4096, ideal) * 1e6)
        537
    """
    compute = 4.0 * num_heads * head_dim * context_tokens / (law.eta_flops * law.peak_flops)
    moved = kv_bytes_per_token * (context_tokens + law.sequence_tokens * sequences)
    memory = moved / (law.eta_bandwidth * law.bandwidth)
    return (law.t0_s + smooth_max(compute, memory)) * present(sequences)


def attention_prefill_s(  # noqa: PLR0917 - the factors of one formula
    token_pairs: Values,
    tokens: Values,
    num_heads: Values,
    head_dim: Values,
    kv_bytes_per_token: Values,
    law: AttentionPrefillLaw,
) -> Values:
    r"""Time of one layer's causal prefill attention on one rank. [s]

    $$t_0 + \frac{4 d (h P + h n l_h / 2 + a P / n)}{\eta \pi} + \frac{p q n}{\beta}$$

    so that a whole prompt of n tokens (P = n²/2) with many heads reaches the fraction
    $\eta n / (n + l_h)$. The last tile of queries runs over its keys while all other processors are
    idle: as long as $a$ queries take, with the mean number of keys, P / n. New keys and values are
    quantized and stored.

    Args:
        token_pairs: Queries times keys under the causal mask, $P$: over chunks, n x prefix + n²/2.
            [pairs]
        tokens: Tokens computed, $n$. [tokens]
        num_heads: Query heads of the rank, $h$. [1]
        head_dim: Mean of the key's and the value's width, $d$. [1]
        kv_bytes_per_token: Key and value bytes of this layer and rank, $q$. [B]
        law: Coefficients.

    References:
        T. Dao, "FlashAttention-2", ICLR 2024: FLOPs of the causal forward pass.

    Examples:
        >>> ideal = AttentionPrefillLaw(1e15, 4e12, 1.0, 0.0, 0.0, 0.0, 0.0)
        >>> round(float(attention_prefill_s(8192**2 / 2, 8192, 32, 128, 4096, ideal)) * 1e6)
        550
    """
    own = 0.5 * num_heads * tokens * law.length_half
    alone = law.tail * token_pairs / np.maximum(tokens, 1.0)
    work = 4.0 * head_dim * (num_heads * token_pairs + own + alone)
    stored = law.passes * kv_bytes_per_token * tokens / law.bandwidth
    return law.t0_s * present(tokens) + work / (law.eta_flops * law.peak_flops) + stored
