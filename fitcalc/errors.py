"""What a user can mend: every error is one sentence with the field, the value and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 80


class FitcalcError(ValueError):
    """A question that cannot be answered as asked. The message is one sentence."""


class InvalidValue(FitcalcError):
    """A field holds a value that makes no sense."""

    def __init__(self, field: str, value: object, fix: str) -> None:
        """Name the field, show its value, and say what to do."""
        shown = str(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        what = "is missing" if value is None else f"= {shown!r} is not valid"
        super().__init__(f"{field} {what}: {fix}.")
        self.field, self.value, self.fix = field, value, fix


class UnknownName(FitcalcError):
    """A name that no table holds; the nearest names are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        """Name what was asked for and the nearest names that exist."""
        near = get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.4)
        suggestion = f"did you mean {', '.join(repr(n) for n in near)}?" if near else hint
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
        super().__init__(f"no {kind} {shown!r}; {suggestion or f'see `fitcalc {kind}s`.'}")
        self.kind, self.name, self.near = kind, name, tuple(near)


class MistakeInFile(FitcalcError):
    """A file of the user's says what makes no sense, on a line."""

    def __init__(self, path: object, line: int, said: str) -> None:
        """Name the file and the line before what is wrong."""
        super().__init__(f"{path} line {line}: {said}")
        self.path, self.line, self.said = str(path), line, said


class TableError(FitcalcError):
    """A table of fitcalc is broken: a figure without unit or source, or a missing row."""
