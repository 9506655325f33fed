"""Prefill and decode on pools of their own, with the KV cache sent from one to the other.

A request runs on the prefill pool until its first token; its KV cache crosses the link of the
prefill replica, one request at a time; the decode pool computes the last prompt token again,
which gives the first token that the client sees (vLLM's KV connectors: a remote hit leaves one
token to compute).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.simulation.fleet import Replica, simulate_fleet
from fitcalc.simulation.records import Records
from fitcalc.simulation.routers import Router
from fitcalc.units import Array


@dataclass(frozen=True, slots=True)
class KvLink:
    """The way of the KV cache from a prefill replica to the decode pool.

    Attributes:
        name: What it is, for the report.
        bandwidth: Of one prefill replica, one way. [B/s]
        latency_s: Before the first byte. [s]
        bytes_per_token: KV bytes of a token, all ranks together. [B]
    """

    name: str
    bandwidth: float
    latency_s: float
    bytes_per_token: float


@dataclass(frozen=True, slots=True, eq=False)
class Disaggregated:
    """What the clients and the two pools saw.

    Attributes:
        clients: Requests end to end; its servers are those of the decode pool.
        prefill: The prefill pool's part: its "finish" is its only token.
        handover_s: From there until the KV cache has arrived. [s]
    """

    clients: Records
    prefill: Records
    handover_s: Array


def simulate_disaggregated(
    prefill: Sequence[Replica],
    decode: Sequence[Replica],
    link: KvLink,
    trace: Trace,
    *,
    router: str = Router.LEAST_REQUESTS,
    seed: int = 0,
) -> Disaggregated:
    """Serve an open loop by a prefill pool and a decode pool.

    Args:
        prefill: Replicas that compute prompts.
        decode: Replicas that make tokens.
        link: How KV caches get there.
        trace: The requests.
        router: How requests are spread over either pool.
        seed: Of a random router.

    Raises:
        InvalidValue: a pool is empty, or the link carries nothing.
    """
    if not (prefill and decode):
        raise InvalidValue("prefill and decode", "no replica", "give each pool a replica")
    if not (link.bandwidth > 0 and link.latency_s >= 0 and link.bytes_per_token >= 0):
        raise InvalidValue("link", link.name, "give it a bandwidth above 0 and no negative size")
    one_token = replace(trace, osl=np.ones_like(trace.osl))
    first = simulate_fleet(prefill, one_token, router=router, seed=seed)
    isl = trace.isl.astype(np.float64)
    sent = link.bytes_per_token * isl / link.bandwidth + link.latency_s
    arrived = _through(first.finish_s, sent, first.replica)
    order = np.argsort(arrived, kind="stable")
    moved = replace(trace.part(order), arrival_s=arrived[order], hash_ids=None)
    second = simulate_fleet(
        decode,
        moved,
        router=router,
        seed=seed,
        computed_elsewhere=True,
    )
    back = np.argsort(order)
    clients = replace(
        second.part(back),
        arrival_s=trace.arrival_s,
        frontend_s=first.frontend_s,
        scheduled_s=first.scheduled_s,
        cached_tokens=first.cached_tokens,
    )
    return Disaggregated(clients, first, arrived - first.finish_s)


def _through(ready_s: Array, lasting_s: Array, sender: Tokens) -> Array:
    """When each transfer ends if each sender makes one at a time, in order of being ready. [s]

    Examples:
        >>> _through(np.array([0.0, 0.5, 5.0]), np.ones(3), np.zeros(3, int)).tolist()
        [1.0, 2.0, 6.0]
    """
    ends = np.zeros(len(ready_s))
    free: dict[int, float] = {}
    for request in np.argsort(ready_s, kind="stable").tolist():
        who = int(sender[request])
        ends[request] = max(float(ready_s[request]), free.get(who, 0.0)) + lasting_s[request]
        free[who] = float(ends[request])
    return ends
