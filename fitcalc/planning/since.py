"""What changed since a baseline: fitcalc, tables, coefficients, the question, the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum

from fitcalc.answers import Row
from fitcalc.inputs.scenario_file import ONLY
from fitcalc.inputs.slo import Slo
from fitcalc.planning.lock import Cell, Lock, LockedScenario, flat

_SAME = 1e-3
"""Relative difference of a number below which an answer is the same. [1]"""


class Kind(StrEnum):
    """What changed."""

    FITCALC = "fitcalc"
    TABLES = "tables"
    QUESTION = "question"
    ANSWER = "answer"


class Difference(Row):
    """One thing that changed; the scenario is "" where it is about all of them."""

    kind: Kind
    scenario: str
    what: str
    before: Cell
    now: Cell

    def words(self) -> str:
        """Say what changed.

        Examples:
            >>> Difference(kind="tables", scenario="", what="prices", before="1a", now="2b").words()
            'the tables of prices changed (1a -> 2b)'
        """
        change = f"{_shown(self.before)} -> {_shown(self.now)}"
        if self.kind is Kind.TABLES:
            return f"the tables of {self.what} changed ({change})"
        return f"{self.what}: {change}"


def differences(now: Lock, before: Lock) -> tuple[Difference, ...]:
    """Return what changed, the causes before the answers."""
    return (*_tables(now, before), *_questions(now, before), *_answers(now, before))


def _tables(now: Lock, before: Lock) -> Iterator[Difference]:
    if not before.made_with:
        return
    for name in dict.fromkeys((*before.made_with, *now.made_with)):
        old, new = before.made_with.get(name), now.made_with.get(name)
        if old != new:
            kind = Kind.FITCALC if name == "fitcalc" else Kind.TABLES
            yield Difference(kind=kind, scenario="", what=name, before=old, now=new)


def _questions(now: Lock, before: Lock) -> Iterator[Difference]:
    for name, new, old in _pairs(now, before):
        if new is None or old is None:
            here, there = (None, "asked") if new is None else ("asked", None)
            yield Difference(
                kind=Kind.QUESTION, scenario=name, what="scenario", before=there, now=here
            )
            continue
        yield from _changed(Kind.QUESTION, name, _full(old.question), _full(new.question))


def _answers(now: Lock, before: Lock) -> Iterator[Difference]:
    for name, new, old in _pairs(now, before):
        if new is None or old is None:
            continue
        if (old.served is None) is not (new.served is None):
            yield Difference(
                kind=Kind.ANSWER, scenario=name, what="served by", before=_who(old), now=_who(new)
            )
            continue
        yield from _changed(Kind.ANSWER, name, _answer(old), _answer(new))


def _pairs(
    now: Lock, before: Lock
) -> Iterator[tuple[str, LockedScenario | None, LockedScenario | None]]:
    """Yield each scenario's two states; one scenario alone is compared whatever its name."""
    if len(now.scenarios) == 1 and list(before.scenarios) == [ONLY]:
        ((name, new),) = now.scenarios.items()
        yield name, new, before.scenarios[ONLY]
        return
    for name in dict.fromkeys((*before.scenarios, *now.scenarios)):
        yield name, now.scenarios.get(name), before.scenarios.get(name)


def _full(question: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return a question with the promise's defaults, which locks leave out."""
    defaults = flat({"slo": Slo().model_dump(mode="json")})
    return {name: cell for name, cell in {**defaults, **question}.items() if cell is not None}


def _answer(one: LockedScenario) -> dict[str, Cell]:
    cells = {} if one.served is None else flat(one.served.model_dump(mode="json"))
    return {"ok": one.ok, **cells}


def _who(one: LockedScenario) -> str | None:
    return None if one.served is None else f"{one.served.gpu_count} x {one.served.gpu}"


def _changed(
    kind: Kind, name: str, before: Mapping[str, Cell], now: Mapping[str, Cell]
) -> Iterator[Difference]:
    for what in dict.fromkeys((*before, *now)):
        old, new = before.get(what), now.get(what)
        if not _same(old, new):
            yield Difference(kind=kind, scenario=name, what=what, before=old, now=new)


def _same(old: Cell, new: Cell) -> bool:
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    if numbers and not isinstance(old, bool) and not isinstance(new, bool):
        return math.isclose(float(old or 0), float(new or 0), rel_tol=_SAME)
    return old == new


def _shown(cell: Cell) -> str:
    """Return a cell as a person reads it.

    Examples:
        >>> _shown(None), _shown(1234.5678), _shown("h100")
        ('nothing', '1,235', 'h100')
    """
    if cell is None:
        return "nothing"
    if isinstance(cell, float):
        return f"{cell:,.4g}"
    return str(cell)
