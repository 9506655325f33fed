"""What if the kernels reached more, or less, of a GPU's peaks than was fitted?"""

from __future__ import annotations

from dataclasses import replace

from fitcalc.physics.step import StepModel
from fitcalc.physics.terms import GemmTerm


def with_efficiency(model: StepModel, factor: float) -> StepModel:
    """Scale the share of the peaks that every kernel reaches; links and host stay. [1]

    Floors of launches stay as well: they are no share of a peak.

    Args:
        model: Step times of one configuration, or of a stack.
        factor: New share over the fitted one. [1]
    """
    if factor == 1.0:
        return model
    attention, experts, glue = model.attention, model.experts, model.glue
    if attention is not None:
        decode, prefill = attention.decode, attention.prefill
        attention = attention._replace(
            decode=decode._replace(
                eta_flops=decode.eta_flops * factor, eta_bandwidth=decode.eta_bandwidth * factor
            ),
            prefill=prefill._replace(eta_flops=prefill.eta_flops * factor),
        )
    if experts is not None:
        law = experts.law
        law = law._replace(
            eta_flops=law.eta_flops * factor, eta_bandwidth=law.eta_bandwidth * factor
        )
        experts = experts._replace(law=law)
    return replace(
        model,
        gemms=_gemms(model.gemms, factor),
        head=_gemms(model.head, factor),
        attention=attention,
        experts=experts,
        glue=glue._replace(law=glue.law._replace(eta_bandwidth=glue.law.eta_bandwidth * factor)),
    )


def _gemms(term: GemmTerm, factor: float) -> GemmTerm:
    law = term.law
    law = law._replace(eta_flops=law.eta_flops * factor, eta_bandwidth=law.eta_bandwidth * factor)
    return term._replace(law=law)
