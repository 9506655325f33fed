"""The base of everything a user asks with: frozen, strict, and kind about mistakes."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationError

from fitcalc.answers import Row
from fitcalc.errors import InvalidValue


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
            raise _sentence(type(self).__name__, error) from None

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed, checked again."""
        return type(self)(**{**dict(self), **changes})


def _sentence(owner: str, error: ValidationError) -> InvalidValue:
    """Turn pydantic's first complaint into field, value and fix."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or owner
    said = first["msg"].removeprefix("Value error, ")
    fix = {
        "extra_forbidden": f"{owner} has no such field; see its documentation",
        "missing": "this field is required",
    }.get(first["type"], said[:1].lower() + said[1:])
    value = "nothing" if first["type"] == "missing" else first["input"]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InvalidValue):
        return inner
    return InvalidValue(field, value, fix)
