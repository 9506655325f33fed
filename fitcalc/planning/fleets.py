"""A fleet started: every group of servers resolved, its memory laid out, its links known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.link import inter_node_name, named_link
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.fleet import Outage, Pools, Servers, groups_of
from fitcalc.physics.collectives import point_to_point_s
from fitcalc.physics.kv_cache import kv_bytes_per_request, kv_layout
from fitcalc.planning.scheduling import settings_of
from fitcalc.planning.server import start, step_of
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.simulation.fleet import Replica
from fitcalc.simulation.servers import Label
from fitcalc.units import Array


@dataclass(frozen=True, slots=True)
class Group:
    """Some servers alike that have started.

    Attributes:
        setup: Their configuration.
        ledger: The memory of each GPU.
        count: How many. [1]
    """

    setup: Setup
    ledger: MemoryLedger
    count: int

    @property
    def ranks(self) -> int:
        """Engines of each: data-parallel ranks schedule alone. [1]"""
        return self.setup.engine.data_parallel_size

    @property
    def name(self) -> str:
        """What a report calls each."""
        split = self.setup.split
        degrees = (("TP", split.tp), ("PP", split.pp))
        return " ".join([self.setup.gpu.id, *(f"{n}{d}" for n, d in degrees if d > 1)])


@dataclass(frozen=True, slots=True)
class Started:
    """A fleet that has started.

    Attributes:
        groups: Servers that answer; the decode pool where prefill is apart.
        prefill: The prefill pool; empty = every server does both.
        kv_link: What carries KV caches from the one to the other.
    """

    groups: tuple[Group, ...]
    prefill: tuple[Group, ...] = ()
    kv_link: str | None = None

    @property
    def shortest(self) -> Group:
        """The group that takes the shortest requests; who sends does not know who serves."""
        return min((*self.groups, *self.prefill), key=lambda one: one.setup.engine.max_model_len)


def start_fleet(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    replicas: int | Sequence[Servers],
    pools: Pools | None,
) -> Started | Rejection:
    """Start every server, or say why one does not start.

    Raises:
        InvalidValue: no server, or replicas beside pools.
        UnknownName: no such link.
    """
    if pools is None:
        groups = start_groups(model, gpu, engine, groups_of(replicas, "replicas"))
        return groups if isinstance(groups, Rejection) else Started(groups)
    if replicas != 1:
        raise InvalidValue("replicas", replicas, "leave it out; the pools say their servers")
    link = inter_node_name() if pools.kv_link is None else pools.kv_link
    named_link(link)
    prefill = start_groups(model, gpu, engine, groups_of(pools.prefill, "prefill"))
    if isinstance(prefill, Rejection):
        return prefill
    decode = start_groups(model, gpu, engine, groups_of(pools.decode, "decode"))
    return decode if isinstance(decode, Rejection) else Started(decode, prefill, link)


def start_groups(
    model: ModelName, gpu: str, engine: EngineArgs | None, servers: Sequence[Servers]
) -> tuple[Group, ...] | Rejection:
    """Start groups of servers; what one leaves open is as given for all.

    Returns:
        The groups, or why the first that would not start does not.
    """
    groups: list[Group] = []
    for one in servers:
        started = start(model, one.gpu or gpu, one.engine or engine or EngineArgs())
        if isinstance(started, Rejection):
            return started
        groups.append(Group(*started, one.count))
    return tuple(groups)


def replicas_of(groups: Sequence[Group]) -> list[Replica]:
    """Return every engine of the groups; those alike are one object."""
    fleet: list[Replica] = []
    for one in groups:
        replica = Replica(step_of(one.setup), settings_of(one.setup, one.ledger))
        fleet += [replica] * (one.count * one.ranks)
    return fleet


def labels_of(groups: Sequence[Group]) -> list[Label]:
    """Name every engine, in the order of ``replicas_of``."""
    labels: list[Label] = []
    for one in groups:
        first = labels[-1].server + 1 if labels else 0
        for server in range(first, first + one.count):
            labels += [Label(server, rank, one.name) for rank in range(one.ranks)]
    return labels


def of_ranks(outages: Sequence[Outage], groups: Sequence[Group]) -> list[Outage]:
    """Say which engines fail with their servers.

    Raises:
        InvalidValue: there is no such server.
    """
    sizes = np.repeat([one.ranks for one in groups], [one.count for one in groups])
    first = np.cumsum(sizes) - sizes
    failing: list[Outage] = []
    for outage in outages:
        if outage.replica >= len(sizes):
            fix = f"give a server from 0 to {len(sizes) - 1}"
            raise InvalidValue("outages", f"server {outage.replica}", fix)
        start, size = int(first[outage.replica]), int(sizes[outage.replica])
        failing += [replace(outage, replica=start + rank) for rank in range(size)]
    return failing


def sending_s(
    prefill: Sequence[Group], decode: Sequence[Group], link: str | None, isl: Array
) -> list[Array]:
    """For each engine of the prefill pool, how long each prompt's KV cache is on the link. [s]

    Each GPU sends its own part over a port of its own; a decode engine of fewer GPUs receives
    over fewer.

    Args:
        prefill: The groups that send.
        decode: The groups that receive.
        link: Its name; ``None`` = the network between nodes that plans assume.
        isl: Tokens of each prompt. [tokens]

    Raises:
        InvalidValue: the pools keep their KV in different formats.
        UnknownName: no such link.
    """
    formats = {one.setup.kv.id for one in (*prefill, *decode)}
    if len(formats) > 1:
        fix = "give both pools the same kv_cache_dtype"
        raise InvalidValue("kv_cache_dtype", ", ".join(sorted(formats)), fix)
    bandwidth = named_link(link).bandwidth
    ports = min(_gpus(one) for one in decode)
    times: list[Array] = []
    for one in prefill:
        layout = kv_layout(one.setup.model, one.setup.engine, one.setup.kv, one.setup.gpu)
        law = load_efficiency(one.setup.gpu).point_to_point.law
        share = max(1.0, _gpus(one) / ports)
        sent = point_to_point_s(
            kv_bytes_per_request(layout, isl) * share, law._replace(link_bandwidth=bandwidth)
        )
        times += [np.asarray(sent)] * (one.count * one.ranks)
    return times


def _gpus(group: Group) -> int:
    """GPUs of one engine. [1]"""
    return group.setup.split.tp * group.setup.split.pp
