"""One server's prediction in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Percentiles
from fitcalc.inputs.traffic import Traffic
from fitcalc.queueing.goodput import state_of
from fitcalc.queueing.latency import latency
from fitcalc.queueing.mixture import Gaps, Mixture
from fitcalc.queueing.profile import Profile
from fitcalc.queueing.steady import at
from fitcalc.units import MILLI, Array

PERCENTILES = (0.50, 0.90, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Felt:
    """What the users of one server feel, and how full it is.

    Attributes:
        stable: Whether the queue stays finite.
        ttft, itl, tpot, e2e: Latencies. [ms]
        requests_per_s: Completed. [1/s]
        steady_batch: Mean decoding sequences. [1]
        utilization: Rate over the largest stable rate. [1]
        capacity: Largest stable rate. [1/s]
        waiting: Share of requests that wait for a slot or KV blocks. [1]
        queue_share: Share of the mean TTFT that is waiting. [1]
        place_share: Share of it that is waiting for a slot or KV blocks. [1]
        prefix_hit: Share of prompt tokens that the prefix cache serves. [1]
    """

    stable: bool
    ttft: Percentiles
    itl: Percentiles
    tpot: Percentiles
    e2e: Percentiles
    requests_per_s: float
    steady_batch: float
    utilization: float
    capacity: float
    waiting: float
    queue_share: float
    place_share: float
    prefix_hit: float


def felt(server: Profile, traffic: Traffic) -> list[Felt]:
    """Predict each server (row) under the traffic that reaches it.

    Args:
        server: Profile under the traffic's lengths.
        traffic: One server's share: its ``qps`` or ``concurrency`` is each row's load.
    """
    closed = traffic.concurrency is not None
    return felt_at(server, np.full(len(server.max_batch), traffic.load), traffic, closed=closed)


def felt_at(server: Profile, load: Array, traffic: Traffic, *, closed: bool) -> list[Felt]:
    """Predict each server (row) at its own load, in requests a second or clients."""
    state = state_of(server, load, closed=closed, burstiness=traffic.burstiness)
    answer = latency(server, state, traffic.burstiness)
    ttft, e2e = _columns(answer.ttft), _columns(answer.e2e)
    itl, tpot = np.zeros_like(ttft), np.zeros_like(ttft)
    if server.decodes:
        itl, tpot = _columns(answer.gaps), _columns(answer.tpot)
    hit = at(server, server.hit, state.batch)
    least = (answer.ttft.weight * answer.ttft.shift).sum(axis=1)
    return [
        Felt(
            stable=closed or bool(state.rate[i] < state.capacity[i]),
            ttft=_percentiles(ttft[:, i]),
            itl=_percentiles(itl[:, i]),
            tpot=_percentiles(tpot[:, i]),
            e2e=_percentiles(e2e[:, i]),
            requests_per_s=float(min(state.rate[i], state.capacity[i])),
            steady_batch=float(state.batch[i]),
            utilization=float(state.rate[i] / state.capacity[i]),
            capacity=float(state.capacity[i]),
            waiting=float(state.waiting[i]),
            queue_share=float(1.0 - least[i] / answer.ttft.total_mean[i]),
            place_share=float(state.waiting[i] * state.slot_wait_s[i] / answer.ttft.total_mean[i]),
            prefix_hit=float(hit[i]),
        )
        for i in range(len(load))
    ]


def _columns(law: Mixture | Gaps) -> Array:
    """Mean and percentiles of every row. [s] (5, row)."""
    mean = law.total_mean if isinstance(law, Mixture) else law.mean
    return np.stack([mean, *(law.quantile(share) for share in PERCENTILES)])


def _percentiles(seconds: Array) -> Percentiles:
    """Five seconds as an answer in ms, percentiles in order."""
    mean, *rest = (float(x) / MILLI for x in seconds)
    p50, p90, p95, p99 = np.maximum.accumulate(rest)
    return Percentiles(mean=mean, p50=float(p50), p90=float(p90), p95=float(p95), p99=float(p99))
