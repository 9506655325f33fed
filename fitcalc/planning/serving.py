"""Requests through a fleet that has started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fitcalc.inputs.fleet import Outage
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.fleets import Started, labels_of, replicas_of, sending_s
from fitcalc.simulation.disaggregated import Disaggregated, simulate_disaggregated
from fitcalc.simulation.fleet import Replica, simulate_fleet
from fitcalc.simulation.progress import Progress
from fitcalc.simulation.quantiles import percentiles
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation
from fitcalc.simulation.routers import Router
from fitcalc.simulation.servers import servers_seen


def serve(
    fleet: Sequence[Replica],
    load: Traffic | Trace | Mix,
    trace: Trace,
    *,
    max_concurrency: int | None = None,
    warmups: int = 0,
    seed: int,
    router: str = Router.ROUND_ROBIN,
    outages: Sequence[Outage] = (),
    progress: Progress | None = None,
) -> Records:
    """Serve requests by servers alike or not; arguments as of ``simulate_fleet``."""
    traffic = _traffic(load)
    return simulate_fleet(
        fleet,
        _in_blocks(trace, traffic, fleet),
        concurrency=max_concurrency or (traffic.concurrency if traffic else None),
        paced=trace.span_s > 0,
        warmups=warmups,
        tokenized_in_turn=True,
        prefix_hit=traffic.prefix_hit if traffic else 0.0,
        prefix_tokens=_shared_by_all(traffic),
        router=router,
        seed=seed,
        outages=outages,
        progress=progress,
    )


def serve_apart(
    fleet: Started,
    load: Traffic | Trace | Mix,
    trace: Trace,
    *,
    seed: int,
    router: str,
    progress: Progress | None,
) -> Disaggregated:
    """Serve requests by a prefill pool and a decode pool."""
    traffic, first = _traffic(load), replicas_of(fleet.prefill)
    return simulate_disaggregated(
        first,
        replicas_of(fleet.groups),
        _in_blocks(trace, traffic, first),
        sending_s(fleet.prefill, fleet.groups, fleet.kv_link, trace.isl.astype(np.float64)),
        prefix_hit=traffic.prefix_hit if traffic else 0.0,
        prefix_tokens=_shared_by_all(traffic),
        router=router,
        seed=seed,
        progress=progress,
    )


def _traffic(load: Traffic | Trace | Mix) -> Traffic | None:
    """Return what all requests have in common, where it is known."""
    if isinstance(load, Trace):
        return None
    return load.traffic if isinstance(load, Mix) else load


def _shared_by_all(traffic: Traffic | None) -> int:
    """Tokens that every prompt starts with; one prefix of several is looked up. [tokens]"""
    return traffic.prefix_tokens if traffic and traffic.num_prefixes == 1 else 0


def _in_blocks(trace: Trace, traffic: Traffic | None, fleet: Sequence[Replica]) -> Trace:
    """Let the prefixes of a traffic end with a block: what is beyond is not cached."""
    if traffic is None or traffic.num_prefixes == 1:
        return trace
    block = math.lcm(*{one.settings.block_size for one in fleet})
    whole = traffic.prefix_tokens // block * block
    if not whole:
        return replace(trace, hash_ids=None)
    return replace(trace, hash_block_tokens=whole)


def with_pools(answer: Simulation, apart: Disaggregated, fleet: Started) -> Simulation:
    """Add what either pool saw, over the time of the whole."""
    labels, duration = labels_of(fleet.prefill), answer.duration_s
    found = {
        "replicas": answer.replicas + apart.prefill.replicas,
        "servers": servers_seen(apart.decode, labels_of(fleet.groups), duration),
        "prefill_servers": servers_seen(apart.prefill, labels, duration),
        "handover_ms": percentiles(apart.handover_s),
        "kv_link": fleet.kv_link,
    }
    return answer.model_copy(update=found)
