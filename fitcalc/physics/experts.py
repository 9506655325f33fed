"""Experts: how long the routed experts of one layer take on one GPU.

The law is a floor of time plus work over attainable speed, elementwise as ``physics.kernels``.
"""

from __future__ import annotations

import numpy as np

from fitcalc.catalog.laws import MoeLaw
from fitcalc.physics.kernels import ACTIVATION_BYTES, present, smooth_max
from fitcalc.units import Values

GATED_MATRICES = 3.0
"""Gate, up and down: the matrices of a gated expert."""


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
