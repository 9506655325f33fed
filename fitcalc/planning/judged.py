"""The words for what a format costs in quality."""

from __future__ import annotations

from fitcalc.answers import Row


class Judged(Row):
    """What is left of a model's answers in a format.

    Attributes:
        format: Of the weights or the KV cache.
        recovery: Lowest published score over the baseline's; 1 where nothing was quantized beside
            the model's own checkpoint; ``None`` = nobody published one. [1]
        benchmark: Whose score it is.
        measured_on: The model that was measured, the nearest of its kind.
        source: Who published it.
    """

    format: str
    recovery: float | None
    benchmark: str = ""
    measured_on: str = ""
    source: str = ""


class Quality(Row):
    """What a choice's formats cost in quality; weights and KV cache are judged apart.

    Attributes:
        weights: Of the weights.
        kv_cache: Of the KV cache.
        checkpoints: Published checkpoints in the weights' format, the model's own first; empty
            where none is known.
    """

    weights: Judged
    kv_cache: Judged
    checkpoints: tuple[str, ...]
