"""A change of a question that would make it pass."""

from __future__ import annotations

from fitcalc.answers import Row


class Change(Row):
    """One field, what it says and what it would have to say, in the field's own unit."""

    field: str
    asked: float | str
    needed: float | str


class Relaxation(Row):
    """Changes that together make a scenario pass.

    Attributes:
        changes: What changes.
        factor: The largest change of a number, as a ratio above 1; ``None`` = names change. [1]
        usd_per_hour: What would then serve costs; ``None`` where no price is known. [USD/h]
        serves: What would then serve.
    """

    changes: tuple[Change, ...]
    factor: float | None
    usd_per_hour: float | None
    serves: str

    def order(self) -> tuple[bool, float, float]:
        """Rank the least change first; of equal ones the cheaper."""
        return self.factor is None, self.factor or 0.0, self.usd_per_hour or 0.0
