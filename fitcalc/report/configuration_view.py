"""One configuration on a terminal: its memory, its latency, or why it cannot run."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.answers import MemoryLedger, Prediction, Rejection
from fitcalc.planning.explain import Explanation
from fitcalc.report.explanation_view import explanation_view
from fitcalc.report.ledger_view import ledger_view, rejection_view
from fitcalc.report.parts import NARROW, latency_table, trust_words
from fitcalc.report.simulation_view import simulation_view
from fitcalc.report.words import BOTTLENECK, number
from fitcalc.simulation.report import Simulation


def prediction_view(found: Prediction, *, narrow: bool) -> Group:
    """Lay out what one server's users feel."""
    state = "The server keeps up." if found.stable else "The server does not keep up."
    return Group(
        Text(state, style="bold green" if found.stable else "bold red"),
        Text(f"What binds is {BOTTLENECK[found.bottleneck]}."),
        latency_table(found, None, narrow=narrow),
        Text(
            f"{number(found.requests_per_s)} req/s, {number(found.output_tokens_per_s)} output "
            f"tokens/s; {number(found.steady_batch)} requests running on average, "
            f"{100 * found.utilization:.0f} % busy, {100 * found.kv_cache_usage:.0f} % of the KV "
            f"cache in use ({found.kv_cache_tokens:,.0f} tokens)." + _hits(found)
        ),
        Text(f"How sure: {trust_words(found)}"),
    )


def _hits(found: Prediction) -> str:
    """Say how much the prefix cache serves, where it serves anything."""
    if not found.prefix_hit:
        return ""
    return f" {100 * found.prefix_hit:.0f} % of prompt tokens come from the prefix cache."


def configuration_view(
    answer: MemoryLedger | Prediction | Simulation | Explanation | Rejection,
    width: int = 80,
) -> RenderableType:
    """Lay out any answer about one configuration."""
    narrow = width < NARROW
    match answer:
        case Rejection():
            return rejection_view(answer)
        case MemoryLedger():
            return ledger_view(answer, narrow=narrow)
        case Prediction():
            return prediction_view(answer, narrow=narrow)
        case Simulation():
            return simulation_view(answer, narrow=narrow)
        case Explanation():
            return explanation_view(answer)
