"""What a simulation saw: one row a request, one row a step, and sums over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.simulation.arrivals import ClosedLoop
from fitcalc.simulation.engine import Engine
from fitcalc.units import Array


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Requests in the order they were given, and the steps that served them.

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
        gap_s: Gaps between consecutive output tokens. [s]
        gap_count: How many sequences felt each. [1]
        busy_s: Time in steps, all replicas together. [s]
        running_s: Running sequences summed over time. [s]
        kv_usage_s: Used share of the KV blocks summed over time. [s]
        kv_usage_peak: Highest used share of a replica's KV blocks. [1]
        replicas: Engines that served. [1]
        open_loop: Whether requests came by the clock.
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
    gap_s: Array
    gap_count: Array
    busy_s: float
    running_s: float
    kv_usage_s: float
    kv_usage_peak: float
    replicas: int
    open_loop: bool

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


def records(
    engine: Engine, trace: Trace, frontend_s: Array, mine: Tokens, *, delays: bool
) -> Records:
    """Give times to what an engine did.

    Args:
        engine: An engine that has served all it was given.
        trace: The requests it knew of.
        frontend_s: Time of each request outside the engine. [s]
        mine: Those of them it was given.
        delays: Whether that time passed before the scheduler saw the request; otherwise it is
            added to what the client sees.
    """
    timeline, requests = engine.timeline, engine.requests
    ends, durations = timeline.ends_s(), timeline.durations_s()
    arrival = trace.arrival_s
    closed = isinstance(engine.arrivals, ClosedLoop)
    if isinstance(engine.arrivals, ClosedLoop):
        sent = np.asarray(engine.arrivals.sent_step, dtype=np.int64)
        arrival = np.where(sent < 0, 0.0, ends[sent])
    frontend_s = frontend_s[mine]
    added = 0.0 if delays else frontend_s
    scheduled = np.asarray(requests.scheduled, dtype=np.int64)[mine]
    counts = np.array([steps.length for steps in timeline.steps], dtype=np.int64)
    decodes = np.array([steps.decodes for steps in timeline.steps], dtype=np.float64)
    usage = np.array(timeline.usage, dtype=np.float64)
    row_s = np.add.reduceat(durations, np.cumsum(counts) - counts)
    stalls = np.array(engine.scheduler.stalls, dtype=np.int64).reshape(-1, 2)
    return Records(
        arrival_s=arrival[mine],
        frontend_s=frontend_s if delays else np.zeros(len(mine)),
        scheduled_s=ends[scheduled] - durations[scheduled],
        first_token_s=ends[np.asarray(requests.first)[mine]] + added,
        finish_s=ends[np.asarray(requests.finish)[mine]] + added,
        isl=trace.isl[mine],
        osl=trace.osl[mine],
        preemptions=np.asarray(requests.preemptions, dtype=np.int64)[mine],
        cached_tokens=np.asarray(requests.cached, dtype=np.int64)[mine],
        gap_s=np.concatenate((durations, ends[stalls[:, 1]] - ends[stalls[:, 0]])),
        gap_count=np.concatenate((np.repeat(decodes, counts), np.ones(len(stalls)))),
        busy_s=float(durations.sum()),
        running_s=float(usage[:, 0] @ row_s),
        kv_usage_s=float(usage[:, 1:].mean(axis=1) @ row_s) / engine.usable_blocks,
        kv_usage_peak=float(usage[:, 1:].max()) / engine.usable_blocks,
        replicas=1,
        open_loop=not closed,
    )


def merged(parts: Sequence[Records], positions: Sequence[Tokens], replicas: int) -> Records:
    """Put the records of several replicas into one.

    Args:
        parts: Records of the replicas that served anybody.
        positions: For each, where its requests stand in the whole.
        replicas: Replicas there were, the idle ones included. [1]
    """
    order = np.argsort(np.concatenate(positions))
    return Records(
        arrival_s=np.concatenate([part.arrival_s for part in parts])[order],
        frontend_s=np.concatenate([part.frontend_s for part in parts])[order],
        scheduled_s=np.concatenate([part.scheduled_s for part in parts])[order],
        first_token_s=np.concatenate([part.first_token_s for part in parts])[order],
        finish_s=np.concatenate([part.finish_s for part in parts])[order],
        isl=np.concatenate([part.isl for part in parts])[order],
        osl=np.concatenate([part.osl for part in parts])[order],
        preemptions=np.concatenate([part.preemptions for part in parts])[order],
        cached_tokens=np.concatenate([part.cached_tokens for part in parts])[order],
        gap_s=np.concatenate([part.gap_s for part in parts]),
        gap_count=np.concatenate([part.gap_count for part in parts]),
        busy_s=sum(part.busy_s for part in parts),
        running_s=sum(part.running_s for part in parts),
        kv_usage_s=sum(part.kv_usage_s for part in parts),
        kv_usage_peak=max(part.kv_usage_peak for part in parts),
        replicas=replicas,
        open_loop=parts[0].open_loop,
    )
