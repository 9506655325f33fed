"""How long requests are, from the few words people say about it."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.errors import InvalidValue

_OUTPUT_SHARE = 8
"""A context given alone is split 7 parts prompt to 1 part output, as chat with documents is."""


@dataclass(frozen=True, slots=True)
class RequestLength:
    """Prompt and output of a request, and the longest request a server must take. [tokens]

    ``note`` says how a context was split; it is empty when nothing was assumed.
    """

    isl: int
    osl: int
    longest: int
    note: str


def request_length(ctx: int | None, isl: int | None, osl: int | None) -> RequestLength:
    """Return the lengths that ``ctx`` = isl + osl leaves open. [tokens]

    Raises:
        InvalidValue: too little is said, or the three contradict each other.

    Examples:
        >>> request_length(8192, None, None).note
        'ctx 8,192 was split 7:1 into isl 7,168 and osl 1,024'
        >>> request_length(8192, 8000, None).osl
        192
    """
    note = ""
    if ctx is None:
        if isl is None or osl is None:
            open_field = "isl" if isl is None else "osl"
            raise InvalidValue(open_field, None, "give ctx (isl + osl), or both isl and osl")
        ctx = isl + osl
    elif isl is None and osl is None:
        osl = max(ctx // _OUTPUT_SHARE, 1)
        note = f"ctx {ctx:,} was split 7:1 into isl {ctx - osl:,} and osl {osl:,}"
    isl = ctx - (osl or 0) if isl is None else isl
    osl = ctx - isl if osl is None else osl
    for field, tokens, other in (("isl", isl, "osl"), ("osl", osl, "isl")):
        if tokens < 1:
            raise InvalidValue(field, tokens, f"give a ctx of at least {other} + 1 tokens")
    if isl + osl > ctx:
        raise InvalidValue("ctx", ctx, f"give at least isl + osl = {isl + osl} tokens")
    return RequestLength(isl, osl, ctx, note)
