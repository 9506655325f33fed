"""Speculative decoding as it is asked for: who drafts, how much, and how much of it is accepted."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from fitcalc.inputs.question import Question


class DraftMethod(StrEnum):
    """Who drafts, by vLLM's names (vllm/config/speculative.py)."""

    NGRAM = "ngram"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MTP = "mtp"


class Speculation(Question):
    """A draft of some tokens before each step, all of which the model then checks at once.

    Attributes:
        method: Who drafts.
        num_speculative_tokens: Tokens drafted for each token that is sure. [1]
        acceptance: Share of drafted tokens that the model keeps, where it kept all before. It
            depends on the text and the draft: measure it on yours. [1]
        model: Checkpoint that drafts, as vLLM's ``--spec-model`` takes it; "" = none or a
            placeholder.
    """

    method: DraftMethod
    num_speculative_tokens: int = Field(ge=1, le=64)
    acceptance: float = Field(gt=0, le=0.99, allow_inf_nan=False)
    model: str = ""

    @property
    def tokens_a_step(self) -> float:
        r"""Tokens that a step makes of each sequence, $(1 - a^{k+1}) / (1 - a)$. [1]

        References:
            Y. Leviathan, M. Kalman, Y. Matias, "Fast Inference from Transformers via Speculative
            Decoding", ICML 2023, equation 1.

        Examples:
            >>> asked = Speculation(method="eagle3", num_speculative_tokens=3, acceptance=0.5)
            >>> asked.tokens_a_step
            1.875
        """
        a = self.acceptance
        return (1.0 - a ** (self.num_speculative_tokens + 1)) / (1.0 - a)
