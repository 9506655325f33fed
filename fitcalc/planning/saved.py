"""A plan that ``fitcalc plan --json`` wrote, read again."""

from __future__ import annotations

import json

from pydantic import ValidationError

from fitcalc.errors import InvalidValue
from fitcalc.planning.choice import Plan

_KEPT = ("question", "best", "alternatives")


def read_plan(text: str, path: str) -> Plan:
    """Read a plan. What lost is not needed, and may hold numbers that JSON has not.

    Args:
        text: What was written.
        path: Where it was found, for a complaint.

    Raises:
        InvalidValue: it is no plan.
    """
    fix = "give a file that fitcalc plan --json wrote"
    try:
        held = json.loads(text)
        return Plan.model_validate({**{key: held[key] for key in _KEPT}, "rejections": ()})
    except InvalidValue as error:
        raise InvalidValue("plan", path, f"{error.field} is not valid; {fix}") from None
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidValue("plan", path, f"{place} is not valid; {fix}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidValue("plan", path, fix) from None
