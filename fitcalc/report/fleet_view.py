"""Servers side by side: how unlike their loads were, and what passed from pool to pool."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fitcalc.report.words import number
from fitcalc.simulation.report import Simulation
from fitcalc.simulation.servers import ServerSeen

_SHOWN = 16


def fleet_lines(seen: Simulation, *, narrow: bool) -> list[RenderableType]:
    """Say what each server did, where there are several."""
    lines: list[RenderableType] = []
    if seen.handover_ms is not None:
        took = seen.handover_ms
        lines.append(
            Text(
                f"Hand-over of the KV cache over {seen.kv_link}: {number(took.mean)} ms on "
                f"average, p95 {number(took.p95)}, p99 {number(took.p99)}."
            )
        )
        lines.append(servers_table("Prefill pool", seen.prefill_servers, narrow=narrow))
        lines.append(servers_table("Decode pool", seen.servers, narrow=narrow))
    elif len(seen.servers) > 1:
        lines.append(servers_table("Server by server", seen.servers, narrow=narrow))
    return lines


def servers_table(title: str, servers: Sequence[ServerSeen], *, narrow: bool) -> Table:
    """Put servers side by side; of many, those that were busiest."""
    shown = list(servers)
    if len(shown) > _SHOWN:
        shown = sorted(shown, key=lambda one: -one.utilization)[:_SHOWN]
        title = f"{title} (the {_SHOWN} busiest of {len(servers)})"
    ranked = any(one.rank for one in servers)
    table = Table(title=title, title_justify="left")
    table.add_column("server")
    names = ["requests", "busy", "queue p95 ms"]
    if not narrow:
        names = [*names[:2], "running", "KV mean", "KV peak", names[2], "E2E p95 ms", "preempted"]
    for name in names:
        table.add_column(name, justify="right")
    for one in shown:
        server = f"{one.server}{f'.{one.rank}' if ranked else ''} {one.name}"
        cells = {
            "requests": f"{one.num_requests:,}",
            "busy": f"{100 * one.utilization:.0f} %",
            "running": number(one.steady_batch),
            "KV mean": f"{100 * one.kv_cache_usage:.0f} %",
            "KV peak": f"{100 * one.kv_cache_usage_peak:.0f} %",
            "queue p95 ms": number(one.queue_ms.p95),
            "E2E p95 ms": number(one.e2e_ms.p95),
            "preempted": f"{one.preemptions:,}",
        }
        table.add_row(server, *(cells[name] for name in names))
    busy = [one.utilization for one in servers]
    if len(busy) == 1:
        return table
    table.caption = f"busy from {100 * min(busy):.0f} % to {100 * max(busy):.0f} %"
    table.caption_justify = "left"
    return table
