"""Stacks of step models: many candidates asked at once, and some of them taken out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcalc.physics.step import StepModel
from fitcalc.physics.terms import AttentionTerm, GemmTerm, MoeTerm, join, pick


def gather(parts: Sequence[tuple[StepModel, int]]) -> StepModel:
    """Join stacks of one LLM into one stack.

    Args:
        parts: A stack, and how many candidates it speaks for.
    """
    gemms = [(m.gemms, n) for m, n in parts]
    attention = [(m.attention, n) for m, n in parts if m.attention]
    experts = [(m.experts, n) for m, n in parts if m.experts]
    return StepModel(
        gemms=join(gemms, _most(gemms)),
        head=join([(m.head, n) for m, n in parts], (1,)),
        attention=join(attention, _most(attention)) if attention else None,
        experts=join(experts, _most(experts)) if experts else None,
        glue=join([(m.glue, n) for m, n in parts], ()),
        links=join([(m.links, n) for m, n in parts], ()),
        host=join([(m.host, n) for m, n in parts], ()),
        launch=join([(m.launch, n) for m, n in parts], ()),
    )


def _most(parts: Sequence[tuple[GemmTerm | AttentionTerm | MoeTerm, int]]) -> tuple[int, ...]:
    """Return the shape of the last axis of the term with the most operations."""
    return (max(np.shape(term.number)[-1] for term, _ in parts),)


def take(model: StepModel, index: NDArray[np.intp]) -> StepModel:
    """Return the candidates at these rows of a joined stack."""
    return StepModel(
        gemms=pick(model.gemms, index),
        head=pick(model.head, index),
        attention=pick(model.attention, index) if model.attention else None,
        experts=pick(model.experts, index) if model.experts else None,
        glue=pick(model.glue, index),
        links=pick(model.links, index),
        host=pick(model.host, index),
        launch=pick(model.launch, index),
    )
