"""One step while the scheduler puts it together."""

from __future__ import annotations

from dataclasses import dataclass, field

from fitcalc.simulation.timeline import Steps


@dataclass(slots=True)
class Batch:
    """Who is in a step, and what is left of its budget.

    Attributes:
        budget: Tokens left. [tokens]
        most: Tokens of one prompt at most. [tokens]
        deferred: Whether prompts wait for a later step.
        chunks: Prompts in it: (request, tokens before, tokens computed).
        decodes: Sequences in it that decode. [1]
        context: KV tokens that they attend to. [tokens]
        decoded: Of those, each one, where they were scheduled one by one.
        slid: Sequences that have given back their blocks of this step.
        left_out: Sequences that decode, but not in this step.
        late: Sequences in it that the step before left out.
        started: Requests that run for the first time.
        whole: Requests whose prompts it makes whole.
        preempted: Requests that lost their blocks for it. [1]
    """

    budget: int
    most: int
    deferred: bool
    decodes: int = 0
    context: int = 0
    preempted: int = 0
    chunks: list[tuple[int, int, int]] = field(default_factory=list)
    decoded: dict[int, None] = field(default_factory=dict)
    slid: set[int] = field(default_factory=set)
    left_out: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)

    def row(self) -> Steps:
        """Return the step as the step law takes it."""
        tokens, work = 0, 0.0
        for _, before, count in self.chunks:
            tokens += count
            work += count * before + count * count / 2.0
        return Steps(1, self.decodes, self.context, tokens, work, len(self.whole))
