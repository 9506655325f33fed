"""A verdict as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fitcalc.answers import Limit, Prediction
from fitcalc.inputs.scenario_file import ONLY
from fitcalc.planning.check import Check
from fitcalc.planning.check_file import FileCheck
from fitcalc.planning.choice import RejectedChoice
from fitcalc.planning.missed import Failure
from fitcalc.planning.relaxation import Relaxation
from fitcalc.planning.since import Difference, Kind

UNIT = {
    Limit.TTFT: "ms", Limit.ITL: "ms", Limit.E2E: "ms", Limit.BUDGET: "USD/h", Limit.PRICE: "USD/h",
    Limit.MAX_GPUS: "GPUs", Limit.SATURATION: "req/s", Limit.MEMORY: "B", Limit.CONTEXT: "tokens",
}  # fmt: skip
_PERCENT = 100.0
_FEW = 3


def markdown(found: Check) -> str:
    """Return one verdict: what broke and by how much, what would pass, what users feel."""
    named = f" `{found.name}`:" if found.name not in {"", ONLY} else ""
    lines = [f"**fitcalc:**{named} {found.subject} {verdict_words(found)}.", ""]
    if found.failures:
        rows = [
            (f.limit.value, _amount(f, f.needed), _amount(f, f.available), over(f), f.reason)
            for f in found.failures
        ]
        lines += [*_table(("limit", "needed", "available", "over by", "why"), rows), ""]
    if found.misses:
        lines += ["Nearest misses:", "", *(f"- {miss_words(one)}" for one in found.misses), ""]
    if found.relaxations:
        some = found.relaxations[:_FEW]
        lines += ["What would pass:", "", *(f"- {relaxation_words(one)}" for one in some), ""]
    if found.prediction is not None:
        lines += _latency(found.prediction)
    return "\n".join(lines).rstrip()


def file_markdown(found: FileCheck) -> str:
    """Return the verdict on a file: a table of scenarios, then what broke and what changed."""
    parts = []
    if len(found.scenarios) > 1:
        kept = sum(map(bool, found.scenarios))
        parts.append(
            f"**fitcalc:** {kept} of {len(found.scenarios)} scenarios of `{found.file}` pass."
        )
        rows = [_summary(one) for one in found.scenarios]
        columns = ("scenario", "", "GPUs", "$/h", "TTFT", "ITL")
        parts.append("\n".join(_table(columns, rows)))
        parts += [markdown(one) for one in found.scenarios if not one.ok]
    else:
        parts += [markdown(one) for one in found.scenarios]
    if found.baseline is not None:
        parts.append(_since(found))
    return "\n\n".join(parts)


def verdict_words(found: Check) -> str:
    """Say whether it passes."""
    return "keeps its promise" if found.ok else "misses its promise"


def over(failure: Failure) -> str:
    """Say by how much a limit is passed.

    Examples:
        >>> over(Failure(limit="ttft", needed=1500, available=1000, reason=""))
        '50 %'
    """
    if not failure.available or failure.needed <= failure.available:
        return "-"
    percent = _PERCENT * (failure.needed / failure.available - 1.0)
    return f"{percent:,.0f} %" if percent >= _PERCENT else f"{percent:.3g} %"


def miss_words(one: RejectedChoice) -> str:
    """Name a configuration that came near, and what it misses."""
    return f"{one.gpu} TP{one.tensor_parallel_size} {one.weight_format}: {one.reason}"


def relaxation_words(one: Relaxation, named: Mapping[str, str] | None = None) -> str:
    """Say what would have to change, and what that would cost; ``named`` = names of fields."""
    known = named or {}
    changes = " and ".join(
        f"{known.get(c.field, c.field)} {_cell(c.asked)} -> {_cell(c.needed)}" for c in one.changes
    )
    money = "" if one.usd_per_hour is None else f", {one.usd_per_hour:,.2f} USD/h"
    return f"{changes} ({one.serves}{money})"


def since_words(one: Difference) -> str:
    """Say what changed, and of which scenario."""
    return one.words() if one.scenario in {"", ONLY} else f"{one.scenario}: {one.words()}"


def _since(found: FileCheck) -> str:
    if not found.since:
        return f"Nothing changed since `{found.baseline}`."
    causes = [one for one in found.since if one.kind is not Kind.ANSWER]
    answers = [one for one in found.since if one.kind is Kind.ANSWER]
    lines = [f"Since `{found.baseline}`:", ""]
    lines += [f"- {since_words(one)}" for one in causes] or [
        "- the question and tables are the same"
    ]
    if answers:
        lines += ["", *_table(("answer", "before", "now"), [_moved(one) for one in answers])]
    return "\n".join(lines)


def _moved(one: Difference) -> tuple[str, str, str]:
    before, _, now = one.words().partition(": ")[2].partition(" -> ")
    return f"{one.scenario} {one.what}".strip(), before, now


def _summary(one: Check) -> tuple[str, ...]:
    mark = "pass" if one.ok else "**fail**"
    if one.served is None:
        return one.name, mark, "-", "-", "-", "-"
    s = one.served
    money = "-" if s.usd_per_hour is None else f"{s.usd_per_hour:,.2f}"
    gpus = f"{s.gpu_count} x {s.gpu}"
    return one.name, mark, gpus, money, f"{s.ttft_ms:,.0f} ms", f"{s.itl_ms:,.1f} ms"


def _amount(failure: Failure, value: float) -> str:
    return f"{value:,.4g} {UNIT.get(failure.limit, '')}".rstrip()


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    head = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(line)} |" for line in (columns, head, *rows)]


def _latency(found: Prediction) -> list[str]:
    rows = [
        (name, *(f"{value:,.1f}" for value in (p.p50, p.p95, p.p99)))
        for name, p in (
            ("TTFT", found.ttft_ms),
            ("ITL", found.itl_ms),
            ("TPOT", found.tpot_ms),
            ("E2E", found.e2e_ms),
        )
    ]
    return _table(("ms", "p50", "p95", "p99"), rows)
