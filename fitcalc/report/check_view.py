"""A check's verdict on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.planning.check import Check
from fitcalc.report.parts import latency_table, table
from fitcalc.report.words import LIMIT, amount


def check_view(answer: Check) -> Group:
    """Lay out the verdict, then the limits that were missed."""
    verdict = "keeps its promise" if answer.ok else "misses its promise"
    style = "bold green" if answer.ok else "bold red"
    parts: list[RenderableType] = [Text(f"{answer.subject} {verdict}.", style=style)]
    if answer.failures:
        made = table("Missed", "limit", "needs", "has")
        for failure in answer.failures:
            needs = amount(failure.limit, failure.needed)
            made.add_row(LIMIT[failure.limit], needs, amount(failure.limit, failure.available))
        parts += [made, *(Text(failure.reason) for failure in answer.failures)]
    if answer.prediction is not None:
        parts.append(latency_table(answer.prediction, None))
    return Group(*parts)
