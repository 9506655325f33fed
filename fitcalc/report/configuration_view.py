"""One configuration on a terminal: its memory, its latency, or why it cannot run."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.answers import MemoryLedger, Prediction, Rejection
from fitcalc.planning.explain import Explanation
from fitcalc.report.explanation_view import explanation_view
from fitcalc.report.ledger_view import ledger_view, rejection_view
from fitcalc.report.parts import NARROW, latency_table, trust_words
from fitcalc.report.words import BOTTLENECK, count, number
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
            f"cache in use ({found.kv_cache_tokens:,.0f} tokens)."
        ),
        Text(f"How sure: {trust_words(found)}"),
    )


def simulation_view(seen: Simulation, *, narrow: bool) -> Group:
    """Lay out what the users of all replicas felt."""
    state = "The servers kept up." if seen.stable else "The servers did not keep up."
    return Group(
        Text(state, style="bold green" if seen.stable else "bold red"),
        latency_table(seen, None, narrow=narrow),
        Text(
            f"{seen.num_requests:,} requests on {count(seen.replicas, 'server')} in "
            f"{number(seen.duration_s)} s: {number(seen.requests_per_s)} req/s, "
            f"{number(seen.output_tokens_per_s)} output tokens/s. Each ran "
            f"{number(seen.steady_batch)} requests on average, {100 * seen.utilization:.0f} % "
            f"busy, {100 * seen.kv_cache_usage:.0f} % of its KV cache in use "
            f"({100 * seen.kv_cache_usage_peak:.0f} % at most); {100 * seen.cached_share:.0f} % of "
            f"prompt tokens came from the prefix cache; {count(seen.preemptions, 'preemption')} "
            f"(seed {seen.seed})."
        ),
    )


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
