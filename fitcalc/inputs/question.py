"""The base of everything a user asks with: frozen, strict, and kind about mistakes."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Self

from pydantic import ValidationError

from fitcalc.answers import Row
from fitcalc.errors import InvalidValue

_FEW = 24


class Question(Row):
    """A frozen input whose mistakes are raised as one sentence, never a pydantic dump."""

    def __init__(self, /, **fields: object) -> None:
        """Check every field.

        Raises:
            InvalidValue: a field is unknown, has the wrong type or makes no sense.
        """
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _sentence(type(self), error) from None

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed, checked again; what nobody set stays unset."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**given, **changes})


def _sentence(asked: type[Question], error: ValidationError) -> InvalidValue:
    """Turn pydantic's first complaint into field, value and fix."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or asked.__name__
    said = first["msg"].removeprefix("Value error, ")
    fix = {
        "extra_forbidden": _no_such_field(asked, field),
        "missing": "give it",
        "tuple_type": "give a list",
    }.get(first["type"], said[:1].lower() + said[1:])
    value = None if first["type"] == "missing" else first["input"]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InvalidValue):
        around = [str(part) for part in first["loc"]]
        if around[-1:] == inner.field.split(".")[:1]:
            around.pop()
        return InvalidValue(".".join([*around, inner.field]), inner.value, inner.fix)
    return InvalidValue(field, value, fix)


def _no_such_field(asked: type[Question], field: str) -> str:
    """Offer the fields that there are: the nearest, or all where there are few."""
    known = list(asked.model_fields)
    near = get_close_matches(field, known, n=1) or (known if len(known) <= _FEW else ())
    offered = f"use {', '.join(near)}" if near else "see its documentation"
    return f"there is no such field; {offered}"
