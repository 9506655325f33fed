"""Two deployments beside each other, on a terminal and in Markdown."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group as Parts
from rich.text import Text

from fitcalc.answers import Bottleneck
from fitcalc.planning.comparison import Comparison, Group, Term, Value
from fitcalc.report.markdown import markdown_table
from fitcalc.report.parts import table
from fitcalc.report.words import BINDS, count, number

TITLE = {
    Group.QUESTION: "what was asked",
    Group.SERVERS: "servers",
    Group.MONEY: "money",
    Group.LATENCY: "latency",
    Group.LOAD: "load",
    Group.MEMORY: "memory",
    Group.TIME: "a request's time",
}
COST, TTFT, ITL = "cost", "TTFT at the promised percentile", "ITL at the promised percentile"
_PERCENT = 100.0
_WORTH = 0.5
"""Percent from which a change is told in words. [%]"""


def compare_view(found: Comparison, *, everything: bool) -> Parts:
    """Lay out the terms that differ, or all, group by group."""
    made = table("", "", "A", "B", "change")
    group = None
    for term in _shown(found, everything=everything):
        if term.group is not group:
            made.add_row(Text(TITLE[term.group], style="bold"), "", "", "")
            group = term.group
        name, *cells = _row(term)
        made.add_row(Text(f"  {name}"), *(Text(cell) for cell in cells))
    words = [Text(line) for line in _names(found)]
    return Parts(
        Text(headline(found), style="bold"), *words, made,
        *(Text(line) for line in _alike(found, everything=everything)),
    )  # fmt: skip


def compare_markdown(found: Comparison, *, everything: bool) -> str:
    """Return the same as Markdown."""
    rows = [(TITLE[term.group], *_row(term)) for term in _shown(found, everything=everything)]
    parts = [
        f"**{headline(found)}**",
        "\n".join(f"- {line}" for line in _names(found)),
        markdown_table(("", "term", "A", "B", "change"), rows),
        *_alike(found, everything=everything),
    ]
    return "\n\n".join(parts)


def headline(found: Comparison) -> str:
    """Say what B costs and how it feels beside A."""
    said = [
        _words(found.term(name).change, what, *more)
        for name, what, more in (
            (COST, "costs", ("more", "less")),
            (TTFT, "first token", ("later", "sooner")),
            (ITL, "gaps between tokens", ("longer", "shorter")),
        )
    ]
    return f"B beside A: {', '.join(said)}."


def _words(change: float | None, what: str, more: str, less: str) -> str:
    if change is None:
        return f"{what} not comparable"
    percent = _PERCENT * change
    if abs(percent) < _WORTH:
        return f"{what} the same"
    return f"{what} {abs(percent):,.0f} % {more if percent > 0 else less}"


def _names(found: Comparison) -> list[str]:
    """Say what A and B are."""
    gpus, gpu = found.term("GPUs"), found.term("GPU")
    lines = []
    for side, name, number_of, of in (
        ("A", found.a, gpus.a, gpu.a),
        ("B", found.b, gpus.b, gpu.b),
    ):
        where = "" if name == side else f" ({Path(name).name})"
        lines.append(f"{side}{where}: {number_of} x {of}")
    return lines


def _alike(found: Comparison, *, everything: bool) -> list[str]:
    asked = [one.name for one in found.differences if one.group is Group.QUESTION]
    lines = [f"The questions differ in {', '.join(asked)}."] if asked else []
    hidden = len(found.terms) - len(_shown(found, everything=everything))
    if hidden:
        lines.append(f"{count(hidden, 'further term')} the same: --all shows them.")
    return lines


def _shown(found: Comparison, *, everything: bool) -> list[Term]:
    """Return all terms, or those that differ and those that everybody looks for."""
    always = {"GPU", "GPUs", COST, TTFT, ITL}
    return [t for t in found.terms if everything or t.differs or t.name in always]


def _row(term: Term) -> tuple[str, str, str, str]:
    name = BINDS[Bottleneck(term.name)] if term.group is Group.TIME else term.name
    name = f"{name} [{term.unit}]" if term.unit else name
    return name, _cell(term.a), _cell(term.b), _change(term)


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else value


def _change(term: Term) -> str:
    if not term.differs:
        return "same"
    if term.unit == "%" and isinstance(term.a, float) and isinstance(term.b, float):
        return f"{term.b - term.a:+.1f} points"
    if term.change is None:
        return "other"
    return f"{_PERCENT * term.change:+,.3g} %"
