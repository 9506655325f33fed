"""What each server of a fleet did: how unlike their loads were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fitcalc.answers import Percentiles, Row
from fitcalc.simulation.quantiles import percentiles
from fitcalc.simulation.records import Records


class Label(NamedTuple):
    """Which engine it was: the server's number, its data-parallel rank, what it is called."""

    server: int
    rank: int
    name: str


class ServerSeen(Row):
    """What one engine did: fields as in ``Simulation``, of its requests and its time alone.

    ``server`` counts the servers from 0, ``rank`` the data-parallel ranks of each;
    ``computed_tokens`` tokens that it computed, prompts computed again included.
    """

    server: int
    rank: int
    name: str
    num_requests: int
    utilization: float
    steady_batch: float
    kv_cache_usage: float
    kv_cache_usage_peak: float
    queue_ms: Percentiles
    e2e_ms: Percentiles
    preemptions: int
    computed_tokens: int


def servers_seen(
    seen: Records, labels: Sequence[Label] = (), duration_s: float | None = None
) -> tuple[ServerSeen, ...]:
    """Summarise each engine by itself.

    Args:
        seen: What the fleet saw.
        labels: Its engines; none = numbered only.
        duration_s: Over which shares are taken; ``None`` = from the first request sent. [s]
    """
    whole_s = seen.duration_s if duration_s is None else duration_s
    found: list[ServerSeen] = []
    for number, one in enumerate(seen.servers):
        mine = np.flatnonzero(seen.replica == number)
        label = labels[number] if labels else Label(number, 0, "")
        row = ServerSeen(
            server=label.server,
            rank=label.rank,
            name=label.name,
            num_requests=one.requests,
            utilization=one.busy_s / whole_s,
            steady_batch=one.running_s / whole_s,
            kv_cache_usage=one.kv_usage_s / whole_s,
            kv_cache_usage_peak=one.kv_usage_peak,
            queue_ms=percentiles(seen.queue_s[mine]),
            e2e_ms=percentiles(seen.e2e_s[mine]),
            preemptions=int(seen.preemptions[mine].sum()),
            computed_tokens=one.computed_tokens,
        )
        found.append(row)
    return tuple(found)
