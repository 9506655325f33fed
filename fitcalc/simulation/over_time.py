"""A simulation over time: load, batch, queue and KV cache in equal bins."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import reduce

import numpy as np

from fitcalc.answers import Row
from fitcalc.simulation.records import Records
from fitcalc.simulation.series import COLUMNS, Series
from fitcalc.units import Array


@dataclass(frozen=True, slots=True, eq=False)
class OverTime:
    """Means over bins of time, all replicas together.

    Attributes:
        time_s: Middle of each bin. [s]
        arrivals: Requests sent. [1/s]
        queue: Requests that wait for their first step. [1]
        batch: Running sequences. [1]
        kv_usage: Used share of the KV blocks. [1]
        output_tokens: Tokens decoded. [1/s]
        preemptions: Requests that lost their blocks. [1/s]
        busy: Share of the time in steps. [1]
    """

    time_s: Array
    arrivals: Array
    queue: Array
    batch: Array
    kv_usage: Array
    output_tokens: Array
    preemptions: Array
    busy: Array


@dataclass(frozen=True, slots=True, eq=False)
class Waits:
    """Percentiles of the time to first token, by when a request was sent; nan where none was.

    Attributes:
        time_s: Middle of each bin. [s]
        p50_s: Half of its requests waited no longer. [s]
        p95_s: 95 % of them. [s]
    """

    time_s: Array
    p50_s: Array
    p95_s: Array


class Course(Row):
    """The same as an answer has it: fields as in ``OverTime``."""

    time_s: tuple[float, ...]
    arrivals: tuple[float, ...]
    queue: tuple[float, ...]
    batch: tuple[float, ...]
    kv_usage: tuple[float, ...]
    output_tokens: tuple[float, ...]
    preemptions: tuple[float, ...]
    busy: tuple[float, ...]


def course(seen: Records) -> Course:
    """Bin what a simulation saw, as numbers for an answer."""
    found = over_time(seen)
    return Course(**{one.name: tuple(getattr(found, one.name).tolist()) for one in fields(found)})


def over_time(seen: Records, bins: int = 60) -> OverTime:
    """Bin what a simulation saw.

    Args:
        seen: What it saw.
        bins: Bins at most. [1]
    """
    whole = reduce(Series.plus, (server.series for server in seen.servers))
    last = float(seen.finish_s.max())
    fine = max(1, int(np.ceil(last / whole.width_s)))
    joined = max(1, -(-fine // bins))
    count = -(-fine // joined)
    width = joined * whole.width_s
    sums = np.zeros((len(COLUMNS), count * joined))
    sums[:, : min(fine, whole.sums.shape[1])] = whole.sums[:, :fine]
    sums = sums.reshape(len(COLUMNS), count, joined).sum(axis=2)
    named = dict(zip(COLUMNS, sums, strict=True))
    edges = np.arange(count + 1, dtype=np.float64) * width
    blocks = sum(server.usable_blocks for server in seen.servers)
    came = seen.arrival_s + seen.frontend_s
    return OverTime(
        time_s=edges[:-1] + width / 2.0,
        arrivals=np.histogram(seen.arrival_s, edges)[0] / width,
        queue=_inside(came, seen.scheduled_s, edges) / width,
        batch=named["running"] / width,
        kv_usage=named["blocks"] / (blocks * width),
        output_tokens=named["decoded"] / width,
        preemptions=named["preempted"] / width,
        busy=named["busy"] / (width * seen.replicas),
    )


def waits(seen: Records, bins: int = 40) -> Waits:
    """Bin the times to first token by when their requests were sent.

    Args:
        seen: What a simulation saw.
        bins: Bins of equal time. [1]
    """
    edges = np.linspace(0.0, float(seen.arrival_s.max()) or 1.0, bins + 1)
    which = np.clip(np.searchsorted(edges, seen.arrival_s, side="right") - 1, 0, bins - 1)
    ends = np.full((2, bins), np.nan)
    for one in np.unique(which):
        ends[:, one] = np.quantile(seen.ttft_s[which == one], (0.5, 0.95))
    return Waits((edges[:-1] + edges[1:]) / 2.0, ends[0], ends[1])


def _inside(from_s: Array, to_s: Array, edges: Array) -> Array:
    """Time that all intervals together spend in each bin. [s]

    Examples:
        >>> _inside(np.array([0.5]), np.array([2.0]), np.array([0.0, 1.0, 2.0])).tolist()
        [0.5, 1.0]
    """
    total = np.zeros(len(edges))
    for times, sign in ((from_s, 1.0), (to_s, -1.0)):
        order = np.sort(times)
        behind = np.searchsorted(order, edges, side="right")
        passed = np.concatenate(([0.0], np.cumsum(order)))
        total += sign * (edges * behind - passed[behind])
    spent: Array = np.diff(total)
    return spent
