"""Host memory behind the KV cache, beside a plan: prefixes reloaded instead of computed again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.planning.feature import Feature, FeatureName, judged
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.ranking import Limits
from fitcalc.planning.search import Search
from fitcalc.planning.server import fitting, prefixes_of, step_of
from fitcalc.planning.setup import Setup
from fitcalc.planning.sized import Sized, sized
from fitcalc.queueing.offload import HostRoom
from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.queueing.profile import Profile, profile
from fitcalc.units import GIB, MILLI, Array

_PERCENT = 100.0
_BUSIEST_LINK = 0.5
"""Share of the time that reloads may take of the link. [1]"""
_WAIT = 1.0 + _BUSIEST_LINK / (2.0 * (1.0 - _BUSIEST_LINK))
"""Reloads that a request stands for at that load, its own among them (M/D/1). [1]"""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server with host memory behind its KV cache.

    Attributes:
        one: Its configuration.
        profile: What it does.
        own, either: Share of prompts that the KV cache, or any of both, has by batch. [1]
        reload_s: One prefix over PCIe to a card. [s]
    """

    one: Finalist
    profile: Profile
    own: Array
    either: Array
    reload_s: float

    @property
    def most(self) -> float:
        """Requests a second with which reloads stay within their share of the link. [1/s]"""
        reloaded = float(np.max(self.either - self.own))
        return _BUSIEST_LINK / max(reloaded * self.reload_s, 1e-12)


def offloaded(
    search: Search, kept: Sequence[Finalist], host_bytes: float, limits: Limits
) -> Feature:
    """Compare the plan's configurations with host memory and without, both in closed form.

    Args:
        search: The question.
        kept: The best of every GPU type, and of the winner's formats.
        host_bytes: Host memory for each GPU. [B]
        limits: What bounds the plan.

    Raises:
        InvalidValue: no memory, clients in a loop, or no prefixes that could be lost.
    """
    if not 0 < host_bytes < math.inf:
        raise InvalidValue("kv_offload", host_bytes, "give a size above 0, such as 64GiB")
    if search.closed:
        raise InvalidValue("kv_offload", "concurrency", "give qps: reloads are those of a rate")
    if not search.prefix_caching or search.traffic.num_prefixes == 1:
        fix = "give prefix_tokens and num_prefixes above 1 beside it: one prefix is never lost"
        raise InvalidValue("kv_offload", f"{host_bytes / GIB:g} GiB", fix)
    able = [one for one in kept if one.setup.engine.pipeline_parallel_size == 1]
    servers = [_server(search, one, host_bytes) for one in able]
    plain = _cheapest(
        [sized(search, one, _profile(search, one, _room(one, search)), limits) for one in able]
    )
    backed = _cheapest([sized(search, x.one, x.profile, limits, x.most) for x in servers])
    best = backed or plain
    said = best.one.choice.prediction if best else None
    return judged(
        FeatureName.KV_OFFLOAD,
        backed.fleet if backed else None,
        plain.fleet if plain else None,
        risk=said.interval.tpot_ms[1] / said.tpot_ms.mean - 1.0 if said else 0.0,
        why=_why(next(x for x in servers if x.one is best.one), best, host_bytes) if best else (),
        flags=_flags(best.one.setup, host_bytes) if best else "",
    )


def _cheapest(some: Sequence[Sized | None]) -> Sized | None:
    return min((x for x in some if x is not None), key=lambda x: x.order, default=None)


def _room(one: Finalist, search: Search) -> PrefixRoom:
    found = prefixes_of(one.setup, one.ledger, search.traffic)
    if found is None:
        raise InvalidValue("kv_offload", "given", "give prefix_tokens beside it")
    return found


def _profile(search: Search, one: Finalist, room: PrefixRoom) -> Profile:
    setup = one.setup
    held = min(float(setup.engine.seats), fitting(setup, one.ledger, search.traffic))
    return profile(
        step_of(setup),
        search.traffic,
        np.array([max(held, 1.0)]),
        np.array([float(setup.engine.max_num_batched_tokens)]),
        prefix_caching=search.prefix_caching,
        prefixes=room,
    )


def _server(search: Search, one: Finalist, host_bytes: float) -> _Server:
    """Return a configuration with host memory: what is found there is waited for, not computed."""
    room = _room(one, search)
    both = HostRoom(
        room.kv_bytes, room.prefix_bytes, room.held_bytes, room.left_bytes, room.count, host_bytes
    )
    made = _profile(search, one, both)
    own, either = room.found(made.nodes), both.found(made.nodes)
    reload_s = float(room.prefix_bytes[0]) / one.setup.gpu.pcie_bandwidth
    if np.any(either > own):
        made = replace(made, frontend_s=made.frontend_s + _WAIT * reload_s)
    return _Server(one, made, own, either, reload_s)


def _why(server: _Server, best: Sized, host_bytes: float) -> tuple[str, ...]:
    """Say what is found where, and what a reload takes beside computing it again."""
    setup, nodes = server.one.setup, server.profile.nodes[0]
    own, either = (
        float(np.interp(best.batch, nodes, row[0])) for row in (server.own, server.either)
    )
    step, tokens = step_of(setup), float(server.one.share.prefix_tokens)
    again = step.step_s(0.0, 0.0, tokens, tokens**2 / 2.0, 1.0) - step.step_s(0.0, 0.0)
    found = (
        f"beside {best.batch:.3g} running requests {_PERCENT * own:.0f} % of prompts find their "
        f"prefix in the KV cache and {_PERCENT * (either - own):.0f} % in {host_bytes / GIB:g} GiB "
        "of host memory for each GPU"
    )
    cost = (
        f"a prefix takes {server.reload_s / MILLI:.3g} ms over PCIe, "
        f"{float(again) / MILLI:.3g} ms to compute again"
    )
    gpus = setup.engine.gpus
    room = gpus * host_bytes / GIB
    needs = f"each server needs {room:g} GiB of free host memory, which is not priced here"
    return found, cost, needs


def _flags(setup: Setup, host_bytes: float) -> str:
    """Return what ``vllm serve`` takes besides: GiB of all ranks of an engine."""
    return f"--kv-offloading-size {setup.engine.tensor_parallel_size * host_bytes / GIB:g}"
