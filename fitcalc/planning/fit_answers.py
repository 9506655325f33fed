"""Every answer about one configuration's memory, as it was asked."""

from __future__ import annotations

from fitcalc.answers import MemoryLedger, Rejection, Row
from fitcalc.planning.fit_lists import FormatFit, GpuFit, formats_that_fit, least_gpus
from fitcalc.planning.fits import Ask, Room, concurrency_at, longest_context
from fitcalc.planning.knobs import Knob, what_frees


class FitAnswers(Row):
    """The ledger, and what else was asked; ``asked`` names the fields that hold answers.

    ``at_context``: requests of the context that run at once. ``at_concurrency``: the longest
    context for so many. ``least_gpus``: the fewest of this GPU that hold the model, and as many
    requests as were asked for.
    """

    memory: MemoryLedger | Rejection
    asked: tuple[str, ...]
    concurrency: int | None = None
    at_context: Room | Rejection | None = None
    at_concurrency: Room | Rejection | None = None
    least_gpus: GpuFit | None = None
    formats: tuple[FormatFit, ...] = ()
    what_frees: tuple[Knob, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether the model fits, with the requests that were asked for."""
        if isinstance(self.memory, Rejection):
            return False
        if self.at_context is None or self.concurrency is None:
            return self.at_concurrency is None or _holds(self.at_concurrency, 1)
        return _holds(self.at_context, self.concurrency)


def _holds(room: Room | Rejection, concurrency: float) -> bool:
    return isinstance(room, Room) and room.concurrency >= concurrency and room.context > 0


def answers(
    question: Ask,
    *,
    context: int | None = None,
    concurrency: int | None = None,
    what_if: bool = False,
) -> FitAnswers:
    """Answer what was asked.

    An open max_model_len becomes the context that is asked for, or the longest for so many
    requests. What does not fit comes with what would.
    """
    asked = []
    at_context = at_concurrency = None
    open_length = question.engine.max_model_len is None
    if concurrency is not None:
        asked.append("at_concurrency")
        at_concurrency = longest_context(question, concurrency)
        if open_length and context is None and _holds(at_concurrency, concurrency):
            question = question.having(max_model_len=_context(at_concurrency))
    if context is not None:
        asked.append("at_context")
        at_context = concurrency_at(question, context)
        if open_length:
            question = question.having(max_model_len=context)
    memory = question.ledger()
    found = FitAnswers(
        memory=memory,
        asked=tuple(asked),
        concurrency=concurrency,
        at_context=at_context,
        at_concurrency=at_concurrency,
    )
    if what_if:
        asked += ["least_gpus", "formats", "what_frees"]
    if not what_if and found.enough:
        return found
    return found.model_copy(update={
        "asked": tuple(asked),
        "least_gpus": least_gpus(question, concurrency=concurrency or 1),
        "formats": formats_that_fit(question) if question.index is None else (),
        "what_frees": what_frees(question),
    })  # fmt: skip


def _context(room: Room | Rejection | None) -> int | None:
    return room.context if isinstance(room, Room) else None
