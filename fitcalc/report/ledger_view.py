"""One card's memory on a terminal, or why the model does not fit."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.report.parts import capacity_words, ledger_table
from fitcalc.report.words import LIMIT, amount, sentence


def rejection_view(no: Rejection) -> Text:
    """Say no, with the numbers."""
    needs, has = amount(no.limit, no.needed), amount(no.limit, no.available)
    return Text(
        f"{LIMIT[no.limit]}: needs {needs}, has {has}. {sentence(no.reason)}", style="bold red"
    )


def ledger_view(memory: MemoryLedger, *, narrow: bool) -> Group:
    """Lay out what one GPU's memory holds."""
    verdict = "It fits." if memory.fits == "yes" else "It fits, but barely."
    low, high = memory.kv_cache_bytes_p10, memory.kv_cache_bytes_p90
    share = f"{100 * low / memory.kv_cache_bytes:.0f} to {100 * high / memory.kv_cache_bytes:.0f}"
    return Group(
        Text(verdict, style="bold green" if memory.fits == "yes" else "bold yellow"),
        ledger_table(memory, narrow=narrow),
        Text(capacity_words(memory)),
        Text(f"8 of 10 servers are expected to start with {share} % of that KV cache."),
    )
