"""A check's verdict on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.inputs.scenario_file import ONLY
from fitcalc.planning.check import Check
from fitcalc.planning.check_file import FileCheck
from fitcalc.planning.check_text import (
    miss_words,
    over,
    relaxation_words,
    since_words,
    verdict_words,
)
from fitcalc.report.parts import latency_table, table
from fitcalc.report.words import LIMIT, amount, milliseconds, sentence, usd

_FEW = 3


def files_view(found: Iterable[FileCheck]) -> Group:
    """Lay out the verdicts on some files, one below the other."""
    return Group(*map(file_view, found))


def file_view(found: FileCheck) -> Group:
    """Lay out the verdict on a file: each scenario, then what changed."""
    several = len(found.scenarios) > 1
    parts: list[RenderableType] = [_summary(found)] if several else []
    parts += [check_view(one) for one in found.scenarios if not (several and one.ok)]
    return Group(*parts, *_since(found))


def check_view(answer: Check) -> Group:
    """Lay out a verdict, the limits that were missed, and what would pass."""
    named = f"{answer.name}: " if answer.name not in {"", ONLY} else ""
    style = "bold green" if answer.ok else "bold red"
    parts: list[RenderableType] = [
        Text(f"{named}{answer.subject} {verdict_words(answer)}.", style=style)
    ]
    if answer.failures:
        made = table("Missed", "limit", "needs", "has", "over by")
        for one in answer.failures:
            needs, has = amount(one.limit, one.needed), amount(one.limit, one.available)
            made.add_row(LIMIT[one.limit], needs, has, over(one))
        parts += [made, *(Text(sentence(one.reason)) for one in answer.failures), Text("")]
    parts += _listed("Nearest misses:", map(miss_words, answer.misses))
    parts += _listed("What would pass:", map(relaxation_words, answer.relaxations[:_FEW]))
    if answer.prediction is not None:
        parts.append(latency_table(answer.prediction, None, narrow=True))
    return Group(*parts)


def _listed(title: str, lines: Iterator[str]) -> list[RenderableType]:
    rows = [Text(f"  {line}") for line in lines]
    return [Text(title, style="bold"), *rows, Text("")] if rows else []


def _summary(found: FileCheck) -> RenderableType:
    made = table(f"Scenarios of {found.file}", "scenario", "", "GPUs", "$/h", "TTFT", "ITL")
    for one in found.scenarios:
        mark = Text("pass", style="green") if one.ok else Text("fail", style="bold red")
        served = one.served
        cells = ("-",) * 4
        if served is not None:
            cells = (
                f"{served.gpu_count} x {served.gpu}",
                usd(served.usd_per_hour),
                milliseconds(served.ttft_ms),
                milliseconds(served.itl_ms),
            )
        made.add_row(one.name, mark, *cells)
    return made


def _since(found: FileCheck) -> list[RenderableType]:
    if found.baseline is None:
        return []
    if not found.since:
        return [Text(f"Nothing changed since {found.baseline}.")]
    return _listed(f"Since {found.baseline}:", map(since_words, found.since))
