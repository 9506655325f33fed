"""Kernels: how long a matrix product, or a kernel that only moves bytes, takes on one GPU.

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

    $$t_0 + \tau k + \max\left(\frac{2 ((m + m_h) n + a) (k + k_h)}{\eta_f \pi},
    \frac{w n k + 2 m (n + k)}{\eta_b \beta}\right) + \frac{2 p m k}{\beta}
    + \frac{2 u e n k}{\eta_f \pi}$$

    with the smooth maximum, and e the empty rows of the last tile; no rows cost nothing. The
    last wave of tiles leaves processors idle, on average half of them for one tile's time: as long
    as $a$ outputs take all processors. A tile starts and ends ($k_h$) and walks over k in turn,
    which few tiles cannot hide ($\tau$). Hopper's FP8 kernels take longer for 17 rows than for 64.

    Args:
        m: Rows, i.e. tokens of the step. [rows]
        n: Out features on this rank. [1]
        k: In features on this rank. [1]
        weight_bytes_per_param: Bytes of a stored weight with its scales, $w$. [B]
        law: Coefficients; $\pi$ and $\beta$ are its peaks.

    References:
        S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009. NVIDIA, "Matrix
        Multiplication Background User's Guide", on tile and wave quantization.

    Examples:
        >>> ideal = GemmLaw(1e15, 4e12, 1.0, 1.0, 0.0, 0.0, 0.0)
        >>> round(float(gemm_s(16384, 8192, 8192, 2.0, ideal)) * 1e3, 2)
        2.2
    """
    outputs = (m + law.rows_half) * n + law.tail
    compute = 2.0 * outputs * (k + law.depth_half) / (law.eta_flops * law.peak_flops)
    moved = weight_bytes_per_param * n * k + ACTIVATION_BYTES * m * (n + k)
    memory = moved / (law.eta_bandwidth * law.bandwidth)
    extra = law.passes * ACTIVATION_BYTES * m * k / law.bandwidth
    empty = law.unfilled * empty_rows(m)
    extra = extra + 2.0 * empty * n * k / (law.eta_flops * law.peak_flops)
    floor = law.t0_s + law.depth_s * k
    return (floor + smooth_max(compute, memory) + extra) * present(m)


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
