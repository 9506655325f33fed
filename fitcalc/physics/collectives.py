"""Collectives: how long ranks take to exchange bytes inside one link domain.

Bytes are always those of one rank's whole buffer: the tensor that is reduced, the gathered output,
the buffer that is exchanged. Every function is elementwise in its sizes and in its law.
"""

from __future__ import annotations

import numpy as np

from fitcalc.catalog.laws import AllReduceLaw, ExchangeLaw
from fitcalc.physics.kernels import present
from fitcalc.units import Values


def all_reduce_s(buffer_bytes: Values, ranks: Values, law: AllReduceLaw) -> Values:
    r"""Time to sum a buffer over the ranks and leave the sum on each. [s]

    $$\min\left(\alpha_1 + \frac{(n - 1) Q}{\eta_1 \beta},
    \alpha_2 + \frac{2 (n - 1) Q}{n \eta_2 \beta}\right)$$

    The first is a one-shot kernel (vLLM's custom all-reduce for small buffers), the second
    two-shot or NCCL; the engine takes the faster by size. One rank needs none.

    Args:
        buffer_bytes: Bytes of the tensor on one rank, $Q$. [B]
        ranks: Ranks, $n$. [1]
        law: Coefficients; $\beta$ is the link's one-way bandwidth.

    References:
        R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication
        Operations in MPICH", IJHPCA 19(1), 2005. vLLM csrc/custom_all_reduce.cuh.

    Examples:
        >>> law = AllReduceLaw(450e9, 4e-6, 0.6, 10e-6, 0.8)
        >>> round(float(all_reduce_s(2**20, 8, law)) * 1e6, 1)
        15.1
        >>> float(all_reduce_s(2**20, 1, law))
        0.0
    """
    hops = ranks - 1.0
    one_shot = law.one_shot_s + hops * buffer_bytes / (law.eta_one_shot * law.link_bandwidth)
    wire = 2.0 * hops / ranks * buffer_bytes
    ring = law.ring_s + wire / (law.eta_ring * law.link_bandwidth)
    faster: Values = np.minimum(one_shot, ring)
    return faster * present(hops * buffer_bytes)


def exchange_s(buffer_bytes: Values, ranks: Values, law: ExchangeLaw) -> Values:
    r"""Time of an all-gather, a reduce-scatter or an all-to-all. [s]

    $$\alpha + \frac{(n - 1) Q}{n \eta \beta}$$

    Args:
        buffer_bytes: All-gather: bytes of the gathered output; reduce-scatter: of the input;
            all-to-all: of the buffer a rank sends, its own part included, $Q$. [B]
        ranks: Ranks, $n$. [1]
        law: Coefficients of that operation.

    References:
        NVIDIA nccl-tests, doc/PERFORMANCE.md, "Bus bandwidth".

    Examples:
        >>> round(float(exchange_s(9e9, 8, ExchangeLaw(450e9, 0.0, 0.7))) * 1e3)
        25
    """
    wire = (ranks - 1.0) / ranks * buffer_bytes
    time = law.t0_s + wire / (law.eta_link * law.link_bandwidth)
    return time * present(wire)


def point_to_point_s(message_bytes: Values, law: ExchangeLaw) -> Values:
    r"""Time to send a message to the next pipeline stage. [s]

    $$\alpha + \frac{Q}{\eta \beta}$$

    Args:
        message_bytes: Bytes sent, $Q$. [B]
        law: Coefficients.

    Examples:
        >>> float(point_to_point_s(9e9, ExchangeLaw(450e9, 0.0, 0.5)))
        0.04
    """
    return law.t0_s * present(message_bytes) + message_bytes / (law.eta_link * law.link_bandwidth)
