"""The steady state of servers: is it stable, and how full is a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.queueing.profile import Profile
from fitcalc.units import Array

_TAIL_STEPS = 64.0
"""Widest geometric tail that the law of the batch keeps, in batches. [1]"""


def largest_stable_rate(server: Profile) -> Array:
    r"""Rate above which the queue grows without end. [1/s] (row,).

    $$\lambda^* = \max_{b \le B} \min\left(\mu(b), \frac{1}{S(b)}\right)$$

    with S the time of one prompt's prefill steps where they cannot be shared. B is bounded by slots
    and by the KV tokens that running requests hold on average over their life.

    References:
        X. Nie, X. Si, Y. Zhou, "A queueing-theoretic framework for stability analysis of LLM
        inference with KV cache memory constraints", arXiv 2605.04595, 2026.
    """
    alone = np.where(server.prompts < 1.0, server.chunks * server.chunk_s, 0.0)
    with np.errstate(divide="ignore"):
        prefill_bound = np.where(alone > 0, 1.0 / alone, np.inf)
    only_prefill = 1.0 / np.maximum(server.chunk_s[:, 0] * server.chunks[:, 0], 1e-12)
    rate = np.minimum(server.completion_rate, prefill_bound)
    best: Array = rate.max(axis=1)
    return np.where(server.decode_steps < 1.0, only_prefill, best)


@dataclass(frozen=True, slots=True)
class Steady:
    """Servers at a rate each.

    Attributes:
        rate: Requests a second. [1/s] (row,)
        capacity: Largest stable rate. [1/s] (row,)
        batch: Mean decoding sequences, from the fluid balance. [1] (row,)
        gap_s: Mean time between a request's tokens, from the fluid balance. [s] (row,)
        weight: Share of time at each batch size. [1] (row, node)
        waiting: Share of arrivals that find every slot or KV block taken. [1] (row,)
        slot_wait_s: Mean wait for a slot of those. [s] (row,)
        others: Share of the wait for running steps and prompts that an arrival sees: 1 in an open
            loop, (C - 1) / C in a closed one, where it never meets itself. [1] (row,)
        slot_wait_cv2: Its squared coefficient of variation: 1 = exponential, 0 = all alike. [1]
    """

    rate: Array
    capacity: Array
    batch: Array
    gap_s: Array
    weight: Array
    waiting: Array
    slot_wait_s: Array
    others: Array
    slot_wait_cv2: float

    @property
    def stable(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether the queue stays finite. (row,)."""
        return self.rate < self.capacity


def steady(server: Profile, rate: Array, burstiness: float = 1.0) -> Steady:
    r"""Solve the balance of arrivals and completions of each server.

    The mean batch solves the fluid fixed point $b = \lambda\,o\,T(b)$, $T = T_d(b) / (1 - \lambda
    X(b))$. Around it the batch follows the birth-death law $\pi(b) \propto \prod_k \lambda /
    \mu(k)$ with rates $\mu(b)$, beyond B the queue is geometric.

    Args:
        server: The servers' profile.
        rate: Requests a second of each. [1/s] (row,)
        burstiness: Shape of the gamma inter-arrival law; 1 = Poisson. [1]

    References:
        T. Nie et al. 2026 for the balance; M. Ramani, A. Tantawi, state-dependent M/M/1 queues for
        inference servers, 2026, for the birth-death law.
    """
    capacity = largest_stable_rate(server)
    safe = np.minimum(rate, capacity * (1.0 - 1e-9))
    prompts = server.behind(safe[:, None]) * server.prefill_s
    busy = np.where(server.nodes > 0, server.decode_steps * server.step_s + prompts, 1.0)
    mu = server.nodes / busy
    batch = _crossing(server.nodes, mu, safe)
    gap = at(server, server.step_s, np.maximum(batch, 1.0))
    weight, beyond = _batch_law(server, mu, safe, burstiness)
    if server.decode_steps < 1.0:
        # Answers of one token never decode: the whole law is in the queue of prompts.
        weight, beyond = np.zeros_like(weight), np.zeros_like(beyond)
        weight[:, 0] = 1.0
    top = server.completion_rate[:, -1]
    spread = (1.0 + 1.0 / burstiness) / 2.0
    wait = spread / np.maximum(top - safe, 1e-12)
    everyone = np.ones_like(capacity)
    return Steady(rate, capacity, batch, gap, weight, beyond, wait, everyone, slot_wait_cv2=1.0)


def at(server: Profile, values: Array, batch: Array) -> Array:
    """Read a (row, node) table at one batch size a row, by straight lines. (row,)."""
    nodes = server.nodes
    right = np.clip((nodes < batch[:, None]).sum(axis=1), 1, nodes.shape[1] - 1)
    rows = np.arange(len(nodes))
    low, high = nodes[rows, right - 1], nodes[rows, right]
    width = np.where(high > low, high - low, 1.0)
    share = np.clip((batch - low) / width, 0.0, 1.0)
    a, b = values[rows, right - 1], values[rows, right]
    result: Array = a + share * (b - a)
    return result


def _crossing(nodes: Array, mu: Array, rate: Array) -> Array:
    """Return the smallest batch whose completion rate reaches the arrival rate. [1] (row,)."""
    reached = mu >= rate[:, None]
    right = np.where(reached.any(axis=1), reached.argmax(axis=1), mu.argmax(axis=1))
    right = np.maximum(right, 1)
    rows = np.arange(len(mu))
    low, high = mu[rows, right - 1], mu[rows, right]
    width = np.where(high > low, high - low, 1.0)
    share = np.clip((rate - low) / width, 0.0, 1.0)
    a, b = nodes[rows, right - 1], nodes[rows, right]
    result: Array = a + share * (b - a)
    return result


def _batch_law(server: Profile, mu: Array, rate: Array, burstiness: float) -> tuple[Array, Array]:
    """Shares of time at each node and of arrivals beyond the last. (row, node), (row,)."""
    nodes = server.nodes
    gaps = np.diff(nodes, axis=1)
    with np.errstate(divide="ignore"):
        drift = np.log(rate[:, None] / np.maximum(mu, 1e-300))
    # ln pi(b) = sum_{k=1..b} ln(rate / mu(k)); between nodes mu is nearly a straight line in k,
    # so the sum over a gap is its width times the mean of ln(rate / mu) over the gap's far side.
    inner = np.where(nodes[:, :-1] > 0, (drift[:, :-1] + drift[:, 1:]) / 2.0, drift[:, 1:])
    steps = np.where(gaps <= 1.0, gaps * drift[:, 1:], gaps * inner)
    steps = np.where(gaps > 0, steps, 0.0)
    spread = (1.0 + 1.0 / burstiness) / 2.0
    log_law = np.concatenate([np.zeros((len(nodes), 1)), np.cumsum(steps, axis=1)], axis=1) / spread
    last = _last_node(nodes)
    # A node speaks for the whole numbers nearest to it: all of them together, B + 1.
    width = np.zeros_like(nodes)
    width[:, :-1] += gaps / 2.0
    width[:, 1:] += gaps / 2.0
    width[:, 0] += 0.5
    width[np.arange(len(nodes)), last] += 0.5
    width = np.where(np.arange(nodes.shape[1])[None, :] <= last[:, None], width, 0.0)
    log_law = np.where(width > 0, log_law, -np.inf)
    log_law -= log_law.max(axis=1, keepdims=True)
    law = width * np.exp(log_law)
    ratio = np.clip(rate / np.maximum(server.completion_rate[:, -1], 1e-300), 0.0, 1.0 - 1e-9)
    top = np.exp(log_law[np.arange(len(nodes)), last])
    tail = top * np.minimum(ratio / (1.0 - ratio), _TAIL_STEPS * np.maximum(nodes[:, -1], 1.0))
    total = law.sum(axis=1) + tail
    weight = law / total[:, None]
    rows = np.arange(len(nodes))
    weight[rows, last] += tail / total
    return weight, tail / total


def _last_node(nodes: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Index of the first node at each row's largest batch; the rest repeat it. (row,)."""
    found: np.ndarray[tuple[int, ...], np.dtype[np.intp]] = (nodes >= nodes[:, -1:]).argmax(axis=1)
    return found
