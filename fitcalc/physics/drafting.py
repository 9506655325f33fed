"""The step of a server that drafts: the draft, and the model checking all of it at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.physics.step import StepModel
from fitcalc.units import Array, Values

_BY_TOKEN = ("gemm", "experts", "lm_head", "glue", "link")
_LAYERS = ("gemm", "experts", "attention_decode", "attention_prefill", "glue", "link")


@dataclass(frozen=True, slots=True)
class DraftingStep:
    """Step times of one server without a pipeline.

    Attributes:
        base: The model's own step.
        drafts: Tokens drafted for each sequence. [1]
        draft_layers: Layers of the draft over those of the model; 0 = it costs no kernel. [1]
    """

    base: StepModel
    drafts: int
    draft_layers: float

    @property
    def stages(self) -> Values:
        """Pipeline stages. [1]"""
        return self.base.stages

    @property
    def ahead(self) -> Values:
        """Steps that are scheduled before the running one ends. [1]"""
        return self.base.ahead

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Array:
        r"""Time of a step with its drafts. [s]

        All that takes its time by the token, matrices, experts, links and what is between, has
        $(1 + k)$ tokens of each sequence; attention reads a sequence's KV cache once for all of
        them; the host counts sequences. A draft of one layer of the model's L and its head runs k
        times, the first over all tokens of the step, the others over one of each sequence:
        $T = T_{check} + T_{layers} / L + (k-1)\,t_{layers} / L + k\,t_{head}$.
        """
        mixed = prefill_tokens, prefill_work, prefills
        many = np.asarray(decodes, dtype=np.float64) * (1.0 + self.drafts)
        wide = self.base.breakdown(many, context, *mixed)
        narrow = self.base.breakdown(decodes, context, *mixed)
        check = {**narrow, **{name: wide[name] for name in _BY_TOKEN if name in wide}}
        time = _sum(check, tuple(check))
        if self.draft_layers:
            alone = self.base.breakdown(decodes, context)
            later = (self.drafts - 1.0) * _sum(alone, _LAYERS)
            heads = self.drafts * alone["lm_head"]
            time = time + self.draft_layers * (_sum(check, _LAYERS) + later) + heads
        return time

    def frontend_s(self, prompt_tokens: Values) -> Values:
        """Time of a request outside the engine. [s]"""
        return self.base.frontend_s(prompt_tokens)


def _sum(parts: dict[str, Array], names: tuple[str, ...]) -> Array:
    total: Array = np.sum(
        np.broadcast_arrays(*(parts[name] for name in names if name in parts)), axis=0
    )
    return total
