"""An explanation on a terminal: where the time goes, each equation, and what a knob would do."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.planning.explain import Explanation, Knob, Line
from fitcalc.report.parts import table
from fitcalc.report.words import BINDS, BOTTLENECK, milliseconds, number

_BAR = 30


def explanation_view(explained: Explanation) -> Group:
    """Lay out the bottleneck, the equations with their numbers, and the knobs."""
    return Group(
        Text(f"What binds is {BOTTLENECK[explained.bottleneck]}.", style="bold"),
        _shares(explained),
        Text("The equations, with their numbers\n", style="bold"),
        *(line for said in explained.lines for line in _line(said)),
        _knobs(explained.knobs),
    )


def _shares(explained: Explanation) -> RenderableType:
    made = table("Where a step's time goes", "", "share")
    made.add_column("", no_wrap=True)
    ordered = sorted(explained.shares.items(), key=lambda item: -item[1])
    for name, share in ordered:
        if share > 0:
            bar = "#" * max(1, round(share * _BAR))
            made.add_row(BINDS[name], f"{100 * share:.1f} %", bar)
    return made


def _line(said: Line) -> tuple[Text, Text]:
    unit = "" if said.unit == "1" else f" {said.unit}"
    head = Text.assemble((f"{said.name} = {number(said.value)}{unit}", "bold"))
    source = f"  [{said.source}]" if said.source else ""
    return head, Text(f"    {said.equation}\n    {said.numbers}{source}\n", style="dim")


def _knobs(knobs: tuple[Knob, ...]) -> RenderableType:
    made = table("What moving a knob would do", "setting", "mean TTFT", "mean TPOT", "most req/s")
    made.add_column("", overflow="fold")
    for knob in knobs:
        made.add_row(
            knob.setting,
            "-" if knob.ttft_ms is None else milliseconds(knob.ttft_ms),
            "-" if knob.tpot_ms is None else milliseconds(knob.tpot_ms),
            "-" if knob.capacity_per_s is None else number(knob.capacity_per_s),
            knob.note,
        )
    return made
