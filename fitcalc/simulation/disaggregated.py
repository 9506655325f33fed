"""Prefill and decode on pools of their own, with the KV cache sent from one to the other.

A request runs on the prefill pool until its first token; its KV cache crosses the link of the
prefill replica, one request at a time; the decode pool computes the last prompt token again,
which gives the first token that the client sees (vLLM's KV connectors leave one token to compute:
vllm/v1/core/sched/scheduler.py, ``_update_waiting_for_remote_kv``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.simulation.fleet import Replica, simulate_fleet
from fitcalc.simulation.progress import Progress, Stopped
from fitcalc.simulation.records import Records
from fitcalc.simulation.routers import Router
from fitcalc.units import Array


@dataclass(frozen=True, slots=True, eq=False)
class Disaggregated:
    """What the clients and the two pools saw, of the requests that ended.

    Attributes:
        clients: Requests end to end; its servers are those of the decode pool.
        prefill: The prefill pool's part: its "finish" is its only token.
        decode: The decode pool's part, which begins as a KV cache arrives.
        handover_s: From the one to the other. [s]
    """

    clients: Records
    prefill: Records
    decode: Records
    handover_s: Array


def simulate_disaggregated(
    prefill: Sequence[Replica],
    decode: Sequence[Replica],
    trace: Trace,
    sending_s: Sequence[Array],
    *,
    prefix_hit: float = 0.0,
    prefix_tokens: int = 0,
    router: str = Router.LEAST_REQUESTS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Disaggregated:
    """Serve an open loop by a prefill pool and a decode pool.

    Args:
        prefill: Replicas that compute prompts.
        decode: Replicas that make tokens.
        trace: The requests.
        sending_s: For each prefill replica, how long each request's KV cache is on the link. [s]
        prefix_hit: As in ``simulate_fleet``, for prefill.
        prefix_tokens: As in ``simulate_fleet``, for prefill.
        router: How requests are spread over either pool.
        seed: Of a random router.
        progress: Told of requests that leave either pool; where it raises ``Stopped`` those that
            have left both are all.

    Raises:
        InvalidValue: a pool is empty.
        Stopped: nobody has left the prefill pool.
    """
    if not (prefill and decode):
        raise InvalidValue("prefill and decode", "no replica", "give each pool a replica")
    count = len(trace)
    told = None if progress is None else _Halves(progress)
    one_token = replace(trace, osl=np.ones_like(trace.osl))
    first = simulate_fleet(
        prefill,
        one_token,
        prefix_hit=prefix_hit,
        prefix_tokens=prefix_tokens,
        router=router,
        seed=seed,
        progress=told,
    )
    if first.served is not None:
        raise Stopped
    sent = np.stack(sending_s)[first.replica, np.arange(count)]
    arrived = _through(first.finish_s, sent, first.replica)
    order = np.argsort(arrived, kind="stable")
    if told is not None:
        told.before = count
    second = simulate_fleet(
        decode,
        _moved(trace, order, arrived),
        router=router,
        seed=seed,
        computed_elsewhere=True,
        progress=told,
    )
    served = order if second.served is None else order[second.served]
    back = np.argsort(served, kind="stable")
    served, second = served[back], replace(second.part(back), served=None)
    first = first.part(served)
    clients = replace(
        second,
        arrival_s=first.arrival_s,
        frontend_s=first.frontend_s,
        scheduled_s=first.scheduled_s,
        cached_tokens=first.cached_tokens,
        served=None if len(served) == count else served,
    )
    return Disaggregated(clients, first, second, arrived[served] - first.finish_s)


def _moved(trace: Trace, order: Tokens, arrived_s: Array) -> Trace:
    """Return the requests as they reach the decode pool, with KV that no hash is needed for."""
    return replace(
        trace,
        arrival_s=arrived_s[order],
        isl=trace.isl[order],
        osl=trace.osl[order],
        hash_ids=None,
        priority=None if trace.priority is None else trace.priority[order],
        session=None if trace.session is None else trace.session[order],
        kind=None if trace.kind is None else trace.kind[order],
    )


class _Halves:
    """Tells of two pools as of one: each request leaves both."""

    def __init__(self, told: Progress) -> None:
        self._told, self.before = told, 0

    def __call__(self, ended: int, total: int) -> None:
        self._told((self.before + ended) // 2, total)


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
