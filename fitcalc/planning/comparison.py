"""Two deployments beside each other, term by term."""

from __future__ import annotations

from enum import StrEnum

from fitcalc.answers import Row

_SAME = 1e-3
Value = str | int | float | bool | None


class Group(StrEnum):
    """What a term is about."""

    QUESTION = "question"
    SERVERS = "servers"
    MONEY = "money"
    LATENCY = "latency"
    LOAD = "load"
    MEMORY = "memory"
    TIME = "time"


class Term(Row):
    """One term of both sides.

    Attributes:
        group: What it is about.
        name: Its name.
        unit: Of both values; "" for words and counts.
        a, b: ``None`` where a side has none.
        change: b over a, less 1, of two numbers. [1]
    """

    group: Group
    name: str
    unit: str
    a: Value
    b: Value
    change: float | None

    @property
    def differs(self) -> bool:
        """Whether the sides differ, numbers by more than a thousandth."""
        return self.a != self.b if self.change is None else abs(self.change) > _SAME


class Comparison(Row):
    """Two deployments, term by term.

    Attributes:
        a, b: What each is called.
        terms: Group by group.
    """

    a: str
    b: str
    terms: tuple[Term, ...]

    @property
    def differences(self) -> tuple[Term, ...]:
        """The terms that differ."""
        return tuple(term for term in self.terms if term.differs)

    def term(self, name: str) -> Term:
        """Return a term by its name; ``KeyError`` where there is none."""
        return {one.name: one for one in self.terms}[name]
