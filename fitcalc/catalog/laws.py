"""Laws: the coefficients of each kernel's and collective's time, bound to one GPU's peaks.

``fitcalc.physics`` holds the equations: kernels, attention, experts, collectives. A law is a tuple
of floats, or of arrays when several candidates are stacked.
"""

from __future__ import annotations

from typing import NamedTuple

from fitcalc.units import Values


class GemmLaw(NamedTuple):
    """Coefficients of a dense GEMM of one compute format.

    Attributes:
        peak_flops: Dense peak of the format the tensor cores work in. [FLOP/s]
        bandwidth: Memory bandwidth. [B/s]
        eta_flops: Fraction of the peak reached by large m. [1]
        eta_bandwidth: Fraction of the bandwidth reached by small m. [1]
        t0_s: Floor of a launch. [s]
        rows_half: Rows of m that cost as much as padding does. [rows]
        passes: Further reads and writes of the inputs, e.g. to quantize them. [1]
        depth_half: In features whose multiplication costs as much as a tile's start and end. [1]
        tail: Outputs that cost as much as the last, partly idle wave of tiles. [1]
        depth_s: What an in feature costs however little else there is: a tile walks over all. [s]
        unfilled: Rows that each empty row of a tile costs. [1]
    """

    peak_flops: Values
    bandwidth: Values
    eta_flops: Values
    eta_bandwidth: Values
    t0_s: Values
    rows_half: Values
    passes: Values
    depth_half: Values = 0.0
    tail: Values = 0.0
    depth_s: Values = 0.0
    unfilled: Values = 0.0


class AttentionDecodeLaw(NamedTuple):
    """Coefficients of attention of one new token a sequence over its KV cache.

    Attributes:
        peak_flops: Dense 16-bit peak. [FLOP/s]
        bandwidth: Memory bandwidth. [B/s]
        eta_flops: Fraction of the peak reached. [1]
        eta_bandwidth: Fraction of the bandwidth reached by a large KV cache. [1]
        t0_s: Floor of a launch. [s]
        sequence_tokens: Tokens of context that one more sequence costs beside its own. [tokens]
    """

    peak_flops: Values
    bandwidth: Values
    eta_flops: Values
    eta_bandwidth: Values
    t0_s: Values
    sequence_tokens: Values


class AttentionPrefillLaw(NamedTuple):
    """Coefficients of causal attention of a prompt, or of a chunk of one.

    Attributes:
        peak_flops: Dense 16-bit peak. [FLOP/s]
        bandwidth: Memory bandwidth. [B/s]
        eta_flops: Fraction of the peak reached by long prompts. [1]
        t0_s: Floor of a launch. [s]
        length_half: Length at which half of ``eta_flops`` is reached with many heads. [tokens]
        tail: Queries, times heads, that cost as much as the last tile, which runs alone. [1]
        passes: Reads and writes of the new keys and values, e.g. to quantize and store them. [1]
    """

    peak_flops: Values
    bandwidth: Values
    eta_flops: Values
    t0_s: Values
    length_half: Values
    tail: Values
    passes: Values


class MoeLaw(NamedTuple):
    """Coefficients of the fused experts of a mixture-of-experts layer.

    Attributes:
        peak_flops: Dense peak of the compute format. [FLOP/s]
        bandwidth: Memory bandwidth. [B/s]
        eta_flops: Fraction of the peak reached with many tokens an expert. [1]
        eta_bandwidth: Fraction of the bandwidth reached with few tokens an expert. [1]
        t0_s: Floor of routing, sorting and launches. [s]
        rows_half: Rows that an expert's tile costs as padding. [rows]
        passes: Reads and writes of the routed rows outside the GEMMs. [1]
        dispersion: Evenness of the routing; infinite = every expert equally popular. [1]
        imbalance: Relative spread of the experts' loads; 0 = even. [1]
        ep_s: Further floor where ranks hold whole experts and must find their own rows. [s]
    """

    peak_flops: Values
    bandwidth: Values
    eta_flops: Values
    eta_bandwidth: Values
    t0_s: Values
    rows_half: Values
    passes: Values
    dispersion: Values
    imbalance: Values
    ep_s: Values = 0.0


class MemoryLaw(NamedTuple):
    """Coefficients of kernels that only move bytes: norms, activations, sampling.

    Attributes:
        bandwidth: Memory bandwidth. [B/s]
        eta_bandwidth: Fraction of the bandwidth reached. [1]
        t0_s: Floor of a launch. [s]
    """

    bandwidth: Values
    eta_bandwidth: Values
    t0_s: Values


class AllReduceLaw(NamedTuple):
    """Coefficients of an all-reduce among one number of ranks.

    Attributes:
        link_bandwidth: One-way bandwidth of a GPU's link. [B/s]
        one_shot_s: Floor when every rank reads every other's whole buffer. [s]
        eta_one_shot: Fraction of the link reached then. [1]
        ring_s: Floor of reduce-scatter then all-gather. [s]
        eta_ring: Fraction of the link reached then. [1]
    """

    link_bandwidth: Values
    one_shot_s: Values
    eta_one_shot: Values
    ring_s: Values
    eta_ring: Values


class ExchangeLaw(NamedTuple):
    """Coefficients of an all-gather, reduce-scatter, all-to-all or send among a number of ranks.

    Attributes:
        link_bandwidth: One-way bandwidth of a GPU's link. [B/s]
        t0_s: Floor. [s]
        eta_link: Fraction of the link reached. [1]
    """

    link_bandwidth: Values
    t0_s: Values
    eta_link: Values
