"""A simulation on a terminal, and over time."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fitcalc.report.fleet_view import fleet_lines
from fitcalc.report.parts import NARROW, latency_table
from fitcalc.report.words import count, number
from fitcalc.simulation.batching import Batching, BatchingRun
from fitcalc.simulation.over_time import over_time
from fitcalc.simulation.quantiles import percentiles
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation
from fitcalc.units import Array

_BARS = " ▁▂▃▄▅▆▇█"


def simulation_view(seen: Simulation, *, narrow: bool) -> Group:
    """Lay out what the users of all replicas felt."""
    state = "The servers kept up." if seen.stable else "The servers did not keep up."
    lines: list[RenderableType] = [
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
    ]
    if seen.slo_met is not None and seen.goodput_requests_per_s is not None:
        good = number(seen.goodput_requests_per_s)
        lines.append(Text(f"{100 * seen.slo_met:.1f} % kept the promise: {good} good req/s."))
    if seen.classes:
        lines.append(classes_table(seen))
    lines += fleet_lines(seen, narrow=narrow)
    if seen.unfinished:
        cut = f"Stopped early: {count(seen.unfinished, 'request')} more had not ended; rates are"
        lines.append(Text(f"{cut} of those that had.", style="yellow"))
    if seen.refused:
        refused = count(seen.refused, "request")
        lines.append(Text(f"{refused} longer than max_model_len would be refused.", style="yellow"))
    if seen.skipped:
        lines.append(Text(f"{count(seen.skipped, 'row')} of the file were passed over."))
    lines += [Text(f"{note}.", style="yellow") for note in seen.notes]
    return Group(*lines)


def classes_table(seen: Simulation) -> Table:
    """Put the classes of a mix side by side."""
    table = Table(title="Class by class", title_justify="left")
    table.add_column("class")
    columns = ("requests", "TTFT p50 ms", "TTFT p99", "TPOT p50", "TPOT p99", "E2E p99")
    asked = seen.slo_met is not None
    for name in (*columns, "kept") if asked else columns:
        table.add_column(name, justify="right")
    for one in seen.classes:
        felt = (one.ttft_ms.p50, one.ttft_ms.p99, one.tpot_ms.p50, one.tpot_ms.p99, one.e2e_ms.p99)
        row = [one.name, f"{one.num_requests:,}", *map(number, felt)]
        table.add_row(*row, *([f"{100 * (one.slo_met or 0.0):.1f} %"] if asked else []))
    return table


def over_time_view(seen: Records, width: int) -> Table:
    """Plot load, queue, batch and KV cache over time."""
    bins = max(10, min(100, width - 40))
    found = over_time(seen, bins)
    last = number(float(seen.finish_s.max()))
    table = Table(title=f"Over {last} s", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("0 s to the end", no_wrap=True)
    table.add_column("most", justify="right")
    rows = (
        ("requests/s", found.arrivals, 1.0),
        ("waiting", found.queue, 1.0),
        ("running", found.batch, 1.0),
        ("KV cache %", found.kv_usage, 100.0),
        ("tokens/s", found.output_tokens, 1.0),
        ("preemptions/s", found.preemptions, 1.0),
    )
    for name, values, unit in rows:
        table.add_row(name, bars(values), number(float(values.max()) * unit))
    return table


def context_view(seen: Simulation, width: int) -> Table:
    """Show how fast a server decodes at each context."""
    table = Table(title="Decode-only steps by mean context", title_justify="left", box=None)
    for name in ("context", "tokens/s of a server", "tokens"):
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((one.output_tokens_per_s for one in seen.decode_by_context), default=1.0)
    for one in seen.decode_by_context:
        bar = _BARS[-1] * round(max(8, min(40, width - 50)) * one.output_tokens_per_s / most)
        rate = number(one.output_tokens_per_s)
        table.add_row(f"{one.context_tokens:,}+", rate, f"{one.output_tokens:,}", bar)
    return table


def bars(values: Array) -> str:
    """Draw values as bars, the largest full.

    Examples:
        >>> bars(np.array([0.0, 1.0, 2.0]))
        ' ▄█'
    """
    top = float(values.max())
    if top <= 0.0:
        return _BARS[0] * len(values)
    heights = np.ceil(values / top * (len(_BARS) - 1) - 1e-9).astype(int)
    return "".join(_BARS[height] for height in heights.tolist())


def batching_view(runs: dict[Batching, BatchingRun], width: int) -> Table:
    """Put the ways to batch side by side."""
    table = Table(title="The same requests, batched three ways", title_justify="left")
    for name in ("batching", "TTFT mean ms", "E2E mean ms", "E2E p99 ms"):
        table.add_column(name, justify="left" if name == "batching" else "right")
    if width >= NARROW:
        for name in ("tokens computed", "wasted", "req/s"):
            table.add_column(name, justify="right")
    for name, run in runs.items():
        first = percentiles(run.first_token_s - run.arrival_s)
        whole = percentiles(run.finish_s - run.arrival_s)
        row = [name.value, number(first.mean), number(whole.mean), number(whole.p99)]
        if width >= NARROW:
            rate = len(run.finish_s) / run.duration_s
            row += [f"{run.computed_tokens:,}", f"{100 * run.waste:.0f} %", number(rate)]
        table.add_row(*row)
    return table
