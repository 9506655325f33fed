"""One configuration on a terminal: its memory, its latency, or why it cannot run."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.answers import MemoryLedger, Prediction, Rejection
from fitcalc.report.parts import capacity_words, latency_table, ledger_table, trust_words
from fitcalc.report.words import BOTTLENECK, LIMIT, amount, number


def rejection_view(no: Rejection) -> Text:
    """Say no, with the numbers."""
    needs, has = amount(no.limit, no.needed), amount(no.limit, no.available)
    return Text(f"{LIMIT[no.limit]}: needs {needs}, has {has}. {no.reason}", style="bold red")


def ledger_view(memory: MemoryLedger) -> Group:
    """Lay out what one GPU's memory holds."""
    verdict = "It fits." if memory.fits == "yes" else "It fits, but barely."
    low, high = memory.kv_cache_bytes_p10, memory.kv_cache_bytes_p90
    share = f"{100 * low / memory.kv_cache_bytes:.0f} to {100 * high / memory.kv_cache_bytes:.0f}"
    return Group(
        Text(verdict, style="bold green" if memory.fits == "yes" else "bold yellow"),
        ledger_table(memory),
        Text(capacity_words(memory)),
        Text(f"8 of 10 servers are expected to start with {share} % of that KV cache."),
    )


def prediction_view(found: Prediction) -> Group:
    """Lay out what one server's users feel."""
    state = "The server keeps up." if found.stable else "The server does not keep up."
    return Group(
        Text(state, style="bold green" if found.stable else "bold red"),
        Text(f"What binds is {BOTTLENECK[found.bottleneck]}."),
        latency_table(found, None),
        Text(
            f"{number(found.requests_per_s)} req/s, {number(found.output_tokens_per_s)} output "
            f"tokens/s; {number(found.steady_batch)} requests running on average, "
            f"{100 * found.utilization:.0f} % busy, {100 * found.kv_cache_usage:.0f} % of the KV "
            f"cache in use ({found.kv_cache_tokens:,.0f} tokens)."
        ),
        Text(f"How sure: {trust_words(found)}"),
    )


def configuration_view(answer: MemoryLedger | Prediction | Rejection) -> RenderableType:
    """Lay out any answer about one configuration."""
    match answer:
        case Rejection():
            return rejection_view(answer)
        case MemoryLedger():
            return ledger_view(answer)
        case Prediction():
            return prediction_view(answer)
