"""What a simulation saw: one row a request, and sums over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.simulation.arrivals import ClosedLoop
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.gaps import Gaps, merged_gaps
from fitcalc.simulation.series import Series
from fitcalc.units import Array

COLUMNS = (
    "arrival_s", "frontend_s", "scheduled_s", "first_token_s", "finish_s", "isl", "osl",
    "preemptions", "cached_tokens", "replica",
)  # fmt: skip
"""Fields of ``Records`` with one value a request."""


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """What one replica did.

    Attributes:
        busy_s: Time in steps. [s]
        running_s: Running sequences summed over time. [s]
        kv_usage_s: Used share of its KV blocks summed over time. [s]
        kv_usage_peak: Highest used share. [1]
        usable_blocks: KV blocks that can hold tokens. [1]
        requests: Requests it served. [1]
        computed_tokens: Tokens it computed. [tokens]
        series: Its quantities over time.
        decoded, decoded_s: Tokens of decode-only steps and their time, by the mean context's
            power of two. [tokens], [s]
    """

    busy_s: float
    running_s: float
    kv_usage_s: float
    kv_usage_peak: float
    usable_blocks: int
    requests: int
    computed_tokens: int
    series: Series
    decoded: Array
    decoded_s: Array


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Requests in the order they were given, and the replicas that served them.

    Attributes:
        arrival_s: When the client sent the request. [s]
        frontend_s: Time it spent outside the engine. [s]
        scheduled_s: When the first step that computed it began. [s]
        first_token_s: When its first token reached the client. [s]
        finish_s: When its last token did. [s]
        isl: Input sequence length. [tokens]
        osl: Output sequence length. [tokens]
        preemptions: How often it lost its blocks. [1]
        cached_tokens: Prompt tokens that the prefix cache served at first. [tokens]
        replica: Who served it.
        gaps: Gaps between consecutive output tokens, and how many sequences felt each.
        servers: What each replica did.
        open_loop: Whether requests came by the clock.
        refused: Requests longer than the server accepts, which are not among these. [1]
        served: Where these stand among the requests that were given; ``None`` = they are all.
    """

    arrival_s: Array
    frontend_s: Array
    scheduled_s: Array
    first_token_s: Array
    finish_s: Array
    isl: Tokens
    osl: Tokens
    preemptions: Tokens
    cached_tokens: Tokens
    replica: Tokens
    gaps: Gaps
    servers: tuple[Server, ...] = field(default=())
    open_loop: bool = True
    refused: int = 0
    served: Tokens | None = None

    @property
    def replicas(self) -> int:
        """Engines that there were. [1]"""
        return len(self.servers)

    @property
    def gap_s(self) -> Array:
        """Gaps between consecutive output tokens. [s]"""
        return self.gaps.values_s

    @property
    def gap_count(self) -> Array:
        """How many sequences felt each gap. [1]"""
        return self.gaps.counts

    @property
    def busy_s(self) -> float:
        """Time in steps, all replicas together. [s]"""
        return sum(one.busy_s for one in self.servers)

    @property
    def running_s(self) -> float:
        """Running sequences summed over time. [s]"""
        return sum(one.running_s for one in self.servers)

    @property
    def kv_usage_s(self) -> float:
        """Used share of the KV blocks summed over time. [s]"""
        return sum(one.kv_usage_s for one in self.servers)

    @property
    def kv_usage_peak(self) -> float:
        """Highest used share of a replica's KV blocks. [1]"""
        return max(one.kv_usage_peak for one in self.servers)

    @property
    def ttft_s(self) -> Array:
        """Sent to first token. [s]"""
        return self.first_token_s - self.arrival_s

    @property
    def e2e_s(self) -> Array:
        """Sent to last token. [s]"""
        return self.finish_s - self.arrival_s

    @property
    def queue_s(self) -> Array:
        """Reaching the scheduler to the first step, as vLLM's queue time. [s]"""
        return self.scheduled_s - self.arrival_s - self.frontend_s

    @property
    def tpot_s(self) -> Array:
        """(e2e - ttft) / (osl - 1) of the requests of two tokens or more. [s]"""
        several = self.osl > 1
        span = self.finish_s[several] - self.first_token_s[several]
        return span / (self.osl[several] - 1.0)

    @property
    def duration_s(self) -> float:
        """First request sent to last token. [s]"""
        return float(self.finish_s.max() - self.arrival_s.min())

    def part(self, chosen: Tokens) -> Records:
        """Return some of the requests; gaps and replicas stay those of all."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in COLUMNS})


def records(
    engine: Engine, trace: Trace, frontend_s: Array, mine: Tokens, *, delays: bool
) -> Records:
    """Collect what an engine did.

    Args:
        engine: An engine that has served all it was given.
        trace: The requests it knew of.
        frontend_s: Time of each request outside the engine. [s]
        mine: Those of them it was given.
        delays: Whether that time passed before the scheduler saw the request; otherwise it is
            added to what the client sees.
    """
    requests = engine.requests
    engine.diary.close()
    arrival = trace.arrival_s
    if isinstance(engine.arrivals, ClosedLoop):
        arrival = np.asarray(engine.arrivals.sent_at_s)
    frontend_s = frontend_s[mine]
    added = 0.0 if delays else frontend_s

    everyone = len(mine) == len(trace)

    def column(name: str) -> NDArray[Any]:
        whole = np.asarray(getattr(requests, name))
        return whole if everyone else whole[mine]

    return Records(
        arrival_s=arrival if everyone else arrival[mine],
        frontend_s=frontend_s if delays else np.zeros(len(mine)),
        scheduled_s=column("scheduled_s"),
        first_token_s=column("first_s") + added,
        finish_s=column("finish_s") + added,
        isl=trace.isl if everyone else trace.isl[mine],
        osl=trace.osl if everyone else trace.osl[mine],
        preemptions=column("preemptions"),
        cached_tokens=column("cached"),
        replica=np.zeros(len(mine), dtype=np.int16),
        gaps=engine.diary.gaps,
        servers=(server(engine, len(mine)),),
        open_loop=not isinstance(engine.arrivals, ClosedLoop),
    )


def ended(engine: Engine) -> Tokens:
    """Requests whose last token an engine made."""
    return np.flatnonzero(np.asarray(engine.requests.finish) >= 0)


def server(engine: Engine, requests: int) -> Server:
    """Collect what a replica did for so many requests."""
    diary, blocks = engine.diary, engine.usable_blocks
    diary.close()
    return Server(
        busy_s=diary.busy_s,
        running_s=diary.running_s,
        kv_usage_s=diary.blocks_s / blocks,
        kv_usage_peak=diary.blocks_peak / blocks,
        usable_blocks=blocks,
        requests=requests,
        computed_tokens=diary.computed_tokens,
        series=diary.series,
        decoded=diary.decoded,
        decoded_s=diary.decoded_s,
    )


def joined_server(old: Server, new: Server) -> Server:
    """Put what a replica did before and after a failure into one."""
    return Server(
        busy_s=old.busy_s + new.busy_s,
        running_s=old.running_s + new.running_s,
        kv_usage_s=old.kv_usage_s + new.kv_usage_s,
        kv_usage_peak=max(old.kv_usage_peak, new.kv_usage_peak),
        usable_blocks=new.usable_blocks,
        requests=old.requests + new.requests,
        computed_tokens=old.computed_tokens + new.computed_tokens,
        series=old.series.plus(new.series),
        decoded=old.decoded + new.decoded,
        decoded_s=old.decoded_s + new.decoded_s,
    )


def merged(
    parts: Sequence[Records], positions: Sequence[Tokens], count: int | None = None
) -> Records:
    """Put the records of several replicas into one.

    Args:
        parts: Records of each replica, none for one that served nobody.
        positions: For each, where its requests stand in the whole.
        count: Requests of the whole, some of which may not have ended; ``None`` = these. [1]
    """
    where = np.concatenate(positions)
    order = np.argsort(where, kind="stable")
    whole: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in COLUMNS
        if name != "replica"
    }
    who = np.concatenate([np.full(len(p), i) for i, p in enumerate(positions)])[order]
    return replace(
        parts[0],
        **whole,
        replica=who,
        gaps=merged_gaps([part.gaps for part in parts]),
        servers=tuple(one for part in parts for one in part.servers),
        served=None if count in (None, len(where)) else where[order],
    )
