"""Kernels: how long one operation takes on one GPU.

Each law is a floor of time plus work over attainable speed. A law's coefficients come from
``calibration/results`` bound to a GPU's peaks (``fitcalc.catalog.efficiency``); every function is
elementwise in its work *and* in its law, so ``stack`` lets one call answer for many GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.units import Values

ACTIVATION_BYTES = 2.0
"""Activations between kernels are 16-bit, whatever the weights are. [B/element]"""
SMALL_TILE, MIDDLE_TILE, LARGE_TILE = 16.0, 64.0, 256.0
"""Heights of a GEMM's tiles. [rows]"""
GATED_MATRICES = 3.0
"""Gate, up and down: the matrices of a gated expert."""


L = TypeVar(
    "L",
    GemmLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    MoeLaw,
    MemoryLaw,
    AllReduceLaw,
    ExchangeLaw,
)


def stack(laws: Sequence[L], trailing: int = 0) -> L:
    """Join the laws of several candidates into one law of arrays.

    Args:
        laws: One law a candidate, all of one type.
        trailing: Axes of length 1 to add behind the candidates' axis. [1]

    Examples:
        >>> slow, fast = MemoryLaw(1e12, 1.0, 0.0), MemoryLaw(2e12, 1.0, 0.0)
        >>> memory_bound_s(2e12, stack([slow, fast])).tolist()
        [2.0, 1.0]
    """
    shape = (len(laws), *(1,) * trailing)
    columns = zip(*laws, strict=True)
    return type(laws[0])(*(np.asarray(c, dtype=np.float64).reshape(shape) for c in columns))


def present(count: Values) -> Values:
    """1 where there is something to do, 0 elsewhere: no work launches nothing. [1]

    Examples:
        >>> present(np.array([0.0, 3.0])).tolist()
        [0.0, 1.0]
    """
    mask: Values = np.where(np.asarray(count) > 0, 1.0, 0.0)
    return mask


def smooth_max(a: Values, b: Values) -> Values:
    r"""Maximum of two times that overlap almost wholly.

    $$\sqrt[4]{a^4 + b^4}$$

    At most 19 % above the maximum, where both are equal: a GEMM at the roofline's ridge is held up
    by both. The exponent 4 fits measured GEMMs better than 2 or 8 (calibration/README.md).

    Examples:
        >>> float(smooth_max(3.0, 0.0))
        3.0
    """
    root: Values = np.sqrt(np.sqrt((a * a) ** 2 + (b * b) ** 2))
    return root


def empty_rows(m: Values) -> Values:
    """Rows of the tile that a GEMM's m rows leave empty. [rows]

    Tiles are 16, 64, 128 and 256 rows high. None beyond 256 rows: kernels timed alone show the same
    there, but the first tokens of serving runs do not bear it out (docs/accuracy.md).

    References:
        vLLM 0.33.0 csrc/quantization/w8a8/cutlass/c3x/scaled_mm_sm90_fp8_dispatch.cuh: kernels for
        up to 16, 64 and 128 rows, and for more.

    Examples:
        >>> empty_rows(np.array([8.0, 17.0, 32.0, 64.0, 129.0, 8192.0])).tolist()
        [0.0, 47.0, 32.0, 0.0, 127.0, 0.0]
    """
    rows = np.asarray(m, dtype=np.float64)
    tile = np.where(rows <= MIDDLE_TILE, MIDDLE_TILE, np.where(rows <= 128.0, 128.0, LARGE_TILE))
    left: Values = np.where((rows > SMALL_TILE) & (rows <= LARGE_TILE), tile - rows, 0.0)
    return left


def gemm_s(m: Values, n: Values, k: Values, weight_bytes_per_param: Values, law: GemmLaw) -> Values:
    r"""Time of $Y_{m,n} = X_{m,k} W_{k,n}$. [s]

    $$t_0 + \max\left(\frac{2 (m + m_h) n k}{\eta_f \pi},
    \frac{w n k + 2 m (n + k)}{\eta_b \beta}\right) + \frac{2 p m k}{\beta}
    + \frac{2 u e n k}{\eta_f \pi}$$

    with the smooth maximum, and e the empty rows of the last tile; no rows cost nothing. Hopper's
    FP8 kernels take longer for 17 rows than for 64.

    Args:
        m: Rows, i.e. tokens of the step. [rows]
        n: Out features on this rank. [1]
        k: In features on this rank. [1]
        weight_bytes_per_param: Bytes of a stored weight with its scales, $w$. [B]
        law: Coefficients; $\pi$ and $\beta$ are its peaks.

    References:
        S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.

    Examples:
        >>> ideal = GemmLaw(1e15, 4e12, 1.0, 1.0, 0.0, 0.0, 0.0)
        >>> round(float(gemm_s(16384, 8192, 8192, 2.0, ideal)) * 1e3, 2)
        2.2
    """
    compute = 2.0 * (m + law.rows_half) * n * k / (law.eta_flops * law.peak_flops)
    moved = weight_bytes_per_param * n * k + ACTIVATION_BYTES * m * (n + k)
    memory = moved / (law.eta_bandwidth * law.bandwidth)
    extra = law.passes * ACTIVATION_BYTES * m * k / law.bandwidth
    empty = law.unfilled * empty_rows(m)
    extra = extra + 2.0 * empty * n * k / (law.eta_flops * law.peak_flops)
    return (law.t0_s + smooth_max(compute, memory) + extra) * present(m)


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


def attention_prefill_s(
    token_pairs: Values,
    tokens: Values,
    num_heads: Values,
    head_dim: Values,
    law: AttentionPrefillLaw,
) -> Values:
    r"""Time of one layer's causal prefill attention on one rank. [s]

    $$t_0 + \frac{4 d (h P + (h + h_h) n l_h / 2)}{\eta \pi}$$

    so that a whole prompt of n tokens (P = n²/2) with many heads reaches the fraction
    $\eta n / (n + l_h)$; with few heads each token's own cost is shared by fewer.

    Args:
        token_pairs: Queries times keys under the causal mask, $P$: over chunks, n x prefix + n²/2.
            [pairs]
        tokens: Tokens computed, $n$. [tokens]
        num_heads: Query heads of the rank, $h$. [1]
        head_dim: Mean of the key's and the value's width, $d$. [1]
        law: Coefficients.

    References:
        T. Dao, "FlashAttention-2", ICLR 2024: FLOPs of the causal forward pass.

    Examples:
        >>> ideal = AttentionPrefillLaw(1e15, 1.0, 0.0, 0.0, 0.0)
        >>> round(attention_prefill_s(8192**2 / 2, 8192, 32, 128, ideal) * 1e6)
        550
    """
    own = 0.5 * (num_heads + law.heads_half) * tokens * law.length_half
    work = 4.0 * head_dim * (num_heads * token_pairs + own)
    return law.t0_s * present(tokens) + work / (law.eta_flops * law.peak_flops)


def experts_touched(tokens: Values, topk: Values, experts: Values, dispersion: Values) -> Values:
    r"""Fraction of the experts that at least one token of the step is routed to. [1]

    $$1 - \left(1 + \frac{x}{a}\right)^{-a}, \qquad x = -m \ln(1 - k / E)$$

    Tokens that reach an expert are Poisson with a gamma-distributed mean of shape $a$; $a \to
    \infty$ is uniform routing, $1 - (1 - k/E)^m$. Never less than one token's share, $k / E$.

    Args:
        tokens: Tokens of the step, $m$. [tokens]
        topk: Experts a token, $k$; below ``experts``. [1]
        experts: Experts of the layer, $E$. [1]
        dispersion: $a$. [1]

    References:
        M. Greenwood, G. U. Yule, J. Royal Statistical Society 83, 1920 (gamma-mixed Poisson).

    Examples:
        >>> round(float(experts_touched(16, 8, 128, 1e9)), 3)
        0.644
        >>> float(experts_touched(1, 8, 128, 1.0))
        0.0625
    """
    share = topk / experts
    mean = -tokens * np.log1p(-share)
    touched: Values = -np.expm1(-dispersion * np.log1p(mean / dispersion))
    first: Values = share * np.minimum(tokens, 1.0)
    return np.maximum(touched, first)


def busiest_rank(experts: Values, ep: Values, imbalance: Values) -> Values:
    r"""Rows of the busiest expert-parallel rank over the mean rank's. [1]

    $$1 + c \sqrt{2 \ln(ep) \, \frac{ep}{E}}$$

    the expected maximum of ep sums of E / ep loads, each with relative spread $c$.

    Args:
        experts: Experts of the layer, $E$. [1]
        ep: Ranks that share them. [1]
        imbalance: Relative spread of one expert's load, $c$; 0 = even. [1]

    References:
        L. de Haan, A. Ferreira, "Extreme Value Theory", 2006, section 1.1 (normal maxima).

    Examples:
        >>> float(busiest_rank(256.0, 1.0, 1.0))
        1.0
        >>> round(float(busiest_rank(256.0, 8.0, 1.0)), 2)
        1.36
    """
    factor: Values = 1.0 + imbalance * np.sqrt(2.0 * np.log(ep) * ep / experts)
    return factor


def moe_s(  # noqa: PLR0917 - the factors of one formula
    tokens: Values,
    hidden_size: Values,
    moe_intermediate_size: Values,
    topk: Values,
    experts: Values,
    weight_bytes_per_param: Values,
    law: MoeLaw,
    *,
    tp: Values = 1.0,
    ep: Values = 1.0,
    matrices: Values = GATED_MATRICES,
) -> Values:
    r"""Time of the routed experts of one layer on one rank, routing included. [s]

    $$r = \frac{m k f}{ep}, \qquad e = \max\left(1, \frac{E}{ep} \, touched(m)\right)$$

    rows and touched experts of the busiest rank, for which the step waits (``experts_s``); with
    ep > 1 also ``ep_s``. Only touched experts are read.

    Args:
        tokens: Tokens that meet at the experts: of all ranks of the expert group, $m$. [tokens]
        hidden_size: Width of the residual, $H$. [1]
        moe_intermediate_size: Width of an expert, before ``tp``. [1]
        topk: Experts a token, $k$. [1]
        experts: Routed experts of the layer. [1]
        weight_bytes_per_param: Bytes of a stored weight with its scales, $w$. [B]
        law: Coefficients; $f$ is ``busiest_rank``.
        tp: Ranks that share each expert. [1]
        ep: Ranks that share the experts. [1]
        matrices: Matrices of an expert, $g$. [1]

    Examples:
        >>> ideal = MoeLaw(1e15, 4e12, 1.0, 1.0, 0.0, 0.0, 0.0, 1e9, 1.0)
        >>> round(float(moe_s(1, 4096, 1536, 8, 128, 2.0, ideal)) * 1e6)
        75
    """
    most = np.minimum(topk, experts / ep)
    rows = tokens * np.minimum(topk / ep * busiest_rank(experts, ep, law.imbalance), most)
    share = experts_touched(tokens, topk, experts, law.dispersion)
    touched: Values = np.maximum(share * experts / ep, present(tokens))
    params = matrices * hidden_size * moe_intermediate_size / tp
    width = hidden_size + moe_intermediate_size / tp
    finding = law.ep_s * present(np.maximum(ep - 1.0, 0.0) * tokens)
    return finding + experts_s(rows, touched, params, width, weight_bytes_per_param, law)


def experts_s(  # noqa: PLR0917 - the factors of one formula
    rows: Values,
    touched: Values,
    params: Values,
    width: Values,
    weight_bytes_per_param: Values,
    law: MoeLaw,
) -> Values:
    r"""Time of one rank's experts once it is known who goes where. [s]

    $$t_0 + \max\left(\frac{2 P (r + e m_h)}{\eta_f \pi}, \frac{w P e}{\eta_b \beta}\right)
    + \frac{2 p r (H + I)}{\beta}$$

    Args:
        rows: Pairs of token and expert on the rank, $r$. [rows]
        touched: Experts of the rank with at least one row, $e$. [1]
        params: Parameters of one expert on the rank, $P$. [1]
        width: Elements read and written per row and pass, $H + I$. [1]
        weight_bytes_per_param: Bytes of a stored weight with its scales, $w$. [B]
        law: Coefficients.

    Examples:
        >>> ideal = MoeLaw(1e15, 4e12, 1.0, 1.0, 0.0, 0.0, 0.0, 1e9, 1.0)
        >>> round(float(experts_s(8, 8, 3 * 4096 * 1536, 5632, 2.0, ideal)) * 1e6)
        75
    """
    work = 2.0 * params * (rows + touched * law.rows_half)
    memory = weight_bytes_per_param * params * touched / (law.eta_bandwidth * law.bandwidth)
    body = smooth_max(work / (law.eta_flops * law.peak_flops), memory)
    around = law.passes * ACTIVATION_BYTES * rows * width / law.bandwidth
    return (law.t0_s + body + around) * present(rows)


def memory_bound_s(bytes_moved: Values, law: MemoryLaw) -> Values:
    r"""Time of a kernel that only moves bytes. [s]

    $$t_0 + \frac{Q}{\eta \beta}$$

    Args:
        bytes_moved: Bytes read and written, $Q$. [B]
        law: Coefficients.

    Examples:
        >>> float(memory_bound_s(4e12, MemoryLaw(4e12, 1.0, 0.0)))
        1.0
    """
    return law.t0_s * present(bytes_moved) + bytes_moved / (law.eta_bandwidth * law.bandwidth)
