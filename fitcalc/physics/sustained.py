"""What a prompt's FLOP cost beyond the kernels: timed one by one, these meet no limit of power.

Long prompts keep a GPU at its power limit, where clocks fall. A format that is twice as fast needs
about half of the energy a FLOP, so FLOP are counted at the energy of 16-bit ones.
"""

from __future__ import annotations

import numpy as np

from fitcalc.catalog.laws import AttentionPrefillLaw
from fitcalc.physics.experts import GATED_MATRICES
from fitcalc.physics.terms import GemmTerm, MoeTerm
from fitcalc.units import Values


def half_flops(gemms: GemmTerm, experts: MoeTerm | None, peak: Values) -> Values:
    r"""FLOP of a token's products on one rank, each worth $\pi_{16} / \pi$. [FLOP]

    Args:
        gemms: Dense products.
        experts: Expert layers, if any.
        peak: The GPU's 16-bit peak, $\pi_{16}$. [FLOP/s]
    """
    each = 2.0 * gemms.n * gemms.k / gemms.law.peak_flops
    total: Values = np.sum(gemms.number * each * peak, axis=-1)
    if experts is None:
        return total
    width = experts.topk * experts.hidden_size * experts.moe_intermediate_size
    ranks = experts.tp * experts.ep / experts.dp
    each = 2.0 * GATED_MATRICES * width / (ranks * experts.law.peak_flops)
    routed: Values = np.sum(experts.number * each * peak, axis=-1)
    return total + routed


def sustained(law: AttentionPrefillLaw, flop_s: float) -> AttentionPrefillLaw:
    """Return the law of attention whose every 16-bit FLOP takes ``flop_s`` longer. [s]

    Examples:
        >>> law = AttentionPrefillLaw(1e15, 4e12, 0.5, 0.0, 0.0, 0.0, 0.0)
        >>> sustained(law, 2e-15).eta_flops
        0.25
    """
    alone = law.eta_flops
    return law._replace(eta_flops=alone / (1.0 + flop_s * alone * law.peak_flops))
