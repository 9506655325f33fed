"""What events said of a choice, in a line."""

from __future__ import annotations

from fitcalc.planning.choice import Choice, Confirmed
from fitcalc.report.words import milliseconds

_APART = 0.1
"""Share by which closed form and events may differ without a word. [1]"""


def verified_words(best: Choice) -> str:
    """Say whether the promise holds event by event, and where the closed form differs."""
    seen = best.verification
    if seen is None:
        return "Not simulated; ask with --verify."
    told = [row for row in seen.limits if row.promised_ms is not None]
    apart = [row.limit.value.upper() for row in told if abs(row.difference) > _APART]
    differ = (
        f"; they differ by more than {100 * _APART:.0f} % in {' and '.join(apart)}" if apart else ""
    )
    return (
        f"Simulated, {seen.num_requests:,} requests of one server: "
        f"{', '.join(_one(row) for row in told)}{differ}."
    )


def _one(row: Confirmed) -> str:
    return (
        f"{row.limit.value.upper()} p{row.percentile:g} {milliseconds(row.simulated_ms)} "
        f"{'kept' if row.holds else 'missed'} "
        f"(closed form {milliseconds(row.closed_form_ms)})"
    )
