"""Parts that several views share: the latency table and the memory ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from fitcalc.answers import Limit, MemoryLedger, Percentiles, Prediction
from fitcalc.inputs.slo import Slo
from fitcalc.report.words import CALIBRATED, gib, milliseconds, number

if TYPE_CHECKING:
    from fitcalc.simulation.report import Simulation

NARROW = 72
"""Below so many columns a table leaves out what it can."""
_BAR = 24


def table(title: str, *columns: str) -> Table:
    """Return an empty table: first column left, the others right."""
    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    return made


def latency_table(
    felt: Prediction | Simulation,
    slo: Slo | None,
    *,
    narrow: bool = False,
    brief: bool = False,
) -> Table:
    """Latency percentiles, beside the promise where there is one; brief is for 80 columns."""
    some = ("mean", "p50", "p95", "p99") if brief else ("mean", "p50", "p90", "p95", "p99")
    columns = ("p50", "p99") if narrow else some
    made = table("What users feel", "", *columns, *(("promise",) if slo else ()))
    rows = (
        (Limit.TTFT, "first token", felt.ttft_ms, slo.ttft_ms if slo else None),
        (Limit.ITL, "between tokens", felt.itl_ms, slo.itl_ms if slo else None),
        (None, "per token", felt.tpot_ms, None),
        (Limit.E2E, "whole request", felt.e2e_ms, slo.e2e_ms if slo else None),
    )
    for which, words, found, limit in rows:
        if not found.p99:  # answers of one token have no gaps
            continue
        name = which.value.upper() if which else "TPOT"
        cells = [milliseconds(float(getattr(found, column))) for column in columns]
        promise = [_kept(found, slo.at(which or Limit.TTFT), limit)] if slo else []
        made.add_row(name if narrow or brief else f"{words} ({name})", *cells, *promise)
    return made


def _kept(found: Percentiles, percentile: float, limit: float | None) -> Text:
    if limit is None:
        return Text("")
    kept = found.at(percentile) <= limit
    mark, style = ("kept", "green") if kept else ("missed", "red")
    return Text(f"p{percentile:g} <= {milliseconds(limit)} {mark}", style=style)


def ledger_rows(memory: MemoryLedger) -> tuple[tuple[str, float], ...]:
    """Name each part of the card, in the order they are taken; they sum to it. [B]"""
    return (
        ("weights", memory.weights_bytes),
        ("activation peak", memory.activation_bytes),
        ("buffers outside torch", memory.non_torch_bytes),
        ("CUDA graphs", memory.cuda_graph_bytes),
        ("KV cache", memory.kv_cache_bytes),
        ("left unused", memory.unused_bytes),
    )


def ledger_table(memory: MemoryLedger, *, narrow: bool = False) -> Table:
    """One card's memory, part by part, as bars."""
    total = memory.gpu_memory_bytes
    made = table(f"Memory of each GPU ({gib(total)})", "", "size", "share")
    if not narrow:
        made.add_column("", no_wrap=True)
    for name, size in ledger_rows(memory):
        share = size / total
        bar = "#" * max(round(share * _BAR), 1 if size > 0 else 0)
        made.add_row(name, gib(size), f"{100 * share:.1f} %", *(() if narrow else (bar,)))
    return made


def capacity_words(memory: MemoryLedger) -> str:
    """Say what the KV cache holds."""
    return (
        f"The KV cache holds {memory.kv_cache_tokens:,.0f} tokens "
        f"({memory.kv_bytes_per_token:,.0f} B a token on each GPU): "
        f"{memory.max_concurrency:,.1f} requests of {memory.max_model_len:,} tokens at once; "
        f"the longest single request that fits has {memory.max_model_len_fit:,} tokens."
        + (" It is tight: another vLLM version may not start." if memory.fits == "tight" else "")
    )


def trust_words(prediction: Prediction) -> str:
    """Say where the numbers come from and how far off they may be."""
    low, high = prediction.interval.tpot_ms
    first, last = prediction.interval.ttft_ms
    gaps = f" and between {number(low)} and {number(high)} ms mean TPOT" if high else ""
    return (
        f"{prediction.calibrated.value}: {CALIBRATED[prediction.calibrated]}. 8 of 10 servers are "
        f"expected between {number(first)} and {number(last)} ms mean TTFT{gaps} "
        f"({prediction.method.replace('_', ' ')})."
    )
