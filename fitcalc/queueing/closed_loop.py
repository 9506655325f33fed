"""Closed loops: a fixed number of clients, each asking again when its answer ends."""

from __future__ import annotations

import numpy as np

from fitcalc.queueing.latency import first_token
from fitcalc.queueing.profile import Profile
from fitcalc.queueing.steady import Steady, at, largest_stable_rate
from fitcalc.units import Array


def closed_loop(server: Profile, clients: Array) -> Steady:
    r"""Return the steady state in which ``clients`` requests are always in the system.

    Little's law over the whole stay gives the batch b of decodes at which

    $$b + \mu(b)\,\mathrm{TTFT}(b) = C,$$

    and where slots or KV cache hold fewer, the rest waits: TTFT = C / mu(B) - o T(B). An arrival
    meets the other C - 1 clients only (the arrival theorem, in Schweitzer's approximation).

    Args:
        server: The servers' profile.
        clients: Requests in flight on each server, $C$. [1] (row,)

    References:
        M. Reiser, S. Lavenberg, "Mean-Value Analysis of Closed Multichain Queueing Networks",
        JACM 27(2), 1980; P. Schweitzer, "Approximate Analysis of Multiclass Closed Networks", 1979.
    """
    others = np.maximum(clients - 1.0, 0.0) / np.maximum(clients, 1.0)
    # A client's own prefill never delays its own tokens.
    step = server.decode_s + others[:, None] * (server.step_s - server.decode_s)
    mu = server.nodes / np.where(server.nodes > 0, server.decode_steps * step, 1.0)
    shift, wait, _ = first_token(server, mu, 0.5)
    wait = wait * others[:, None]
    inside = server.nodes + mu * (shift + wait)
    inside = np.maximum.accumulate(inside, axis=1)
    batch = _invert(server.nodes, inside, clients)
    rate = np.maximum(at(server, mu, batch), 1e-12)
    capacity = largest_stable_rate(server)
    gap = at(server, step, np.maximum(batch, 1.0))
    first = at(server, shift + wait, batch)
    beyond = np.maximum(clients / rate - server.decode_steps * gap - first, 0.0)
    beyond = np.where(clients > inside[:, -1], beyond, 0.0)
    return Steady(
        rate=rate,
        capacity=np.maximum(capacity, rate * (1.0 + 1e-9)),
        batch=batch,
        gap_s=gap,
        weight=_between(server.nodes, batch),
        waiting=(beyond > 0).astype(np.float64),
        slot_wait_s=beyond,
        others=others,
        slot_wait_cv2=0.0,
    )


def _invert(nodes: Array, rising: Array, target: Array) -> Array:
    """Batch at which a rising table reaches a target a row, by straight lines. [1] (row,)."""
    right = np.clip((rising < target[:, None]).sum(axis=1), 1, nodes.shape[1] - 1)
    rows = np.arange(len(nodes))
    low, high = rising[rows, right - 1], rising[rows, right]
    share = np.clip((target - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    a, b = nodes[rows, right - 1], nodes[rows, right]
    result: Array = a + share * (b - a)
    return result


def _between(nodes: Array, batch: Array) -> Array:
    """All weight on the two nodes around a batch size, so that their mean is it. (row, node)."""
    right = np.clip((nodes < batch[:, None]).sum(axis=1), 1, nodes.shape[1] - 1)
    rows = np.arange(len(nodes))
    a, b = nodes[rows, right - 1], nodes[rows, right]
    share = np.clip((batch - a) / np.where(b > a, b - a, 1.0), 0.0, 1.0)
    weight = np.zeros_like(nodes)
    weight[rows, right] = share
    weight[rows, right - 1] = 1.0 - share
    return weight
