"""A sweep on a terminal: one line a scenario, the best in colour; and all of it as a CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.answers import MemoryLedger
from fitcalc.errors import InvalidValue
from fitcalc.planning.choice import Choice
from fitcalc.planning.fields import Ask
from fitcalc.planning.grid import Cell
from fitcalc.planning.swept import By, Sweep, SweepRow
from fitcalc.report.parts import NARROW, table
from fitcalc.report.words import (
    BINDS,
    LIMIT,
    amount,
    count,
    gib,
    layout,
    milliseconds,
    number,
    sentence,
    usd,
)
from fitcalc.simulation.report import Simulation

_BEST = ("bold green", "green", "green")
"""How the best rows look."""
_PROMISE = {True: "kept", False: "missed", None: ""}


def sweep_view(answer: Sweep, width: int, *, by: By | str, top: int) -> Group:
    """Lay out the rows in the order they were asked, the best ``top`` of them where they are more.

    Args:
        answer: The sweep.
        width: Columns of the terminal.
        by: What makes a row better: cost or latency.
        top: Rows to show.
    """
    ranked = answer.ranked(by)
    style = {row.key: look for row, look in zip(ranked, _BEST, strict=False)}
    others = [row for row in answer.rows if row.answer is None]
    shown = answer.rows if len(answer.rows) <= top else (*ranked, *others)[:top]
    swept = _varied(answer.rows)
    narrow = width < NARROW
    metrics = _METRICS[answer.ask][:2] if narrow else _METRICS[answer.ask]
    made = table(_title(answer), *(name.rpartition(".")[2] for name in swept), *metrics)
    if not swept:
        made.columns[0].justify = "right"
    for row in shown:
        cells = [_setting(row.settings.get(name)) for name in swept]
        if row.answer is None:
            made.add_row(*cells, Text(_why_short(row)), style="yellow")
        else:
            made.add_row(*cells, *_figures(row)[: len(metrics)], style=style.get(row.key, ""))
    parts: list[RenderableType] = [made]
    if len(shown) < len(answer.rows):
        parts.append(Text(f"The best {len(shown)} of {count(len(answer.rows), 'scenario')}."))
    parts += [Text(line) for line in _mistakes(answer.rows)]
    if ranked:
        parts.append(Text(_best_words(ranked[0], swept, By(by)), style="bold green"))
    return Group(*parts)


_METRICS: dict[Ask, tuple[str, ...]] = {
    Ask.PLAN: ("GPUs", "$/h", "servers", "format", "TTFT p95", "ITL p95", "$/Mtok out", "binds"),
    Ask.PREDICT: (
        "TTFT p95", "ITL p95", "E2E mean", "tokens/s", "busy", "$/Mtok out", "promise", "binds"
    ),
    Ask.SIMULATE: (
        "TTFT p95", "ITL p95", "E2E mean", "tokens/s", "busy", "$/Mtok out", "promise"
    ),
    Ask.FIT: ("requests at once", "KV tokens", "KV cache", "longest", "fits"),
}  # fmt: skip
"""What is said of an answer, the most important first."""


def _figures(row: SweepRow) -> list[str]:
    found = row.answer
    if isinstance(found, MemoryLedger):
        return [
            number(found.max_concurrency), number(found.kv_cache_tokens),
            gib(found.kv_cache_bytes), f"{found.max_model_len_fit:,}", found.fits,
        ]  # fmt: skip
    felt = row.felt
    if felt is None:
        return []
    waits = [milliseconds(felt.ttft_ms.p95), milliseconds(felt.itl_ms.p95)]
    money = usd(row.usd_per_million_output_tokens)
    if isinstance(found, Choice):
        servers = f"{found.replicas} x {layout(found.engine)}"
        bought = [f"{found.gpu_count} {found.gpu}", usd(found.usd_per_hour), servers]
        binds = BINDS[found.prediction.bottleneck]
        return [*bought, found.engine.weight_format, *waits, money, binds]
    shown = [
        *waits, milliseconds(felt.e2e_ms.mean), number(felt.output_tokens_per_s),
        f"{100 * felt.utilization:.0f} %", money, _PROMISE[row.kept],
    ]  # fmt: skip
    return shown if isinstance(felt, Simulation) else [*shown, BINDS[felt.bottleneck]]


def _varied(rows: Sequence[SweepRow]) -> list[str]:
    """Return the fields whose values differ, in the order they were given."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    return [n for n in names if any(row.settings.get(n) != rows[0].settings.get(n) for row in rows)]


def _title(answer: Sweep) -> str:
    answered = sum(row.answer is not None for row in answer.rows)
    return f"{answer.ask}: {count(len(answer.rows), 'scenario')}, {answered:,} with an answer"


def _setting(value: Cell) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else f"{value}"


def _why_short(row: SweepRow) -> str:
    return "wrong" if row.rejection is None else LIMIT[row.rejection.limit]


def _mistakes(rows: Sequence[SweepRow]) -> Iterator[str]:
    """Say each mistake once, and how many rows make it."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.error is not None:
            counts[row.error] = counts.get(row.error, 0) + 1
    for words, rows_wrong in counts.items():
        yield f"Wrong in {count(rows_wrong, 'scenario')}: {sentence(words)}"
    nos = [row.rejection for row in rows if row.rejection is not None]
    if nos and len(nos) == len(rows):
        no = nos[0]
        yield (
            f"Nothing serves. The first: {LIMIT[no.limit]}, needs {amount(no.limit, no.needed)}, "
            f"has {amount(no.limit, no.available)}."
        )


def _best_words(row: SweepRow, swept: Sequence[str], by: By) -> str:
    where = ", ".join(f"{name} {_setting(row.settings.get(name))}" for name in swept) or "as asked"
    kept = "" if row.kept is not False else " (no scenario keeps the promise)"
    if row.ask is Ask.FIT:
        return f"Most requests at once: {where}."
    money = row.usd_per_million_output_tokens
    if by is By.LATENCY or money is None:
        return f"Fastest{kept}: {where}."
    return f"Cheapest{kept}: {where} at {usd(money)} per million output tokens."


def write_csv(answer: Sweep, path: Path) -> None:
    """Write one line a scenario: its settings, then every figure of its answer.

    Raises:
        InvalidValue: the file cannot be written.
    """
    lines = [dict(_flat(json.loads(row.model_dump_json()))) for row in answer.rows]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(lines)
    except OSError as error:
        fix = f"the file cannot be written: {error.strerror}"
        raise InvalidValue("csv", path, fix) from None


def _flat(cells: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Yield every figure under a name of its own, such as ``answer.ttft_ms.p95``."""
    for name, value in cells.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, "" if key == "settings" else f"{key}.")
        elif isinstance(value, list):
            yield key, " ".join(map(str, value))
        elif not (value is None and name in {"answer", "rejection"}):
            yield key, value
