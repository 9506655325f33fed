"""The prefix cache in closed form: what is left of the KV cache decides which prompts hit.

vLLM keeps the blocks of requests that ended until others need the room, the oldest first. So the
cache holds whatever the last u requests brought: the running ones, and as many ended ones as fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.units import Array

_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class PrefixRoom:
    """The KV cache of servers, one a row, and what requests with a shared prefix take of it.

    Attributes:
        kv_bytes: KV cache of a rank. [B] (row,)
        prefix_bytes: One prefix. [B] (row,)
        held_bytes: What a running request holds beside its prefix, on average. [B] (row,)
        left_bytes: What it leaves cached beside its prefix as it ends. [B] (row,)
        count: Prefixes, each as likely as any other. [1]
    """

    kv_bytes: Array
    prefix_bytes: Array
    held_bytes: Array
    left_bytes: Array
    count: int

    @property
    def most(self) -> Array:
        r"""Requests that run at once where each prefix is held once. [1] (row,).

        The b that solves $b h + P p\,(1 - (1 - 1/P)^b) = M$.
        """
        return self._solve(self.kv_bytes, self.held_bytes, self.prefix_bytes)

    def found(self, batch: Array) -> Array:
        r"""Share of requests whose prefix is cached while so many run. [1] (row, node).

        The cache holds the last u requests, $b h + (u - b)\,l + P p\,(1 - (1 - 1/P)^u) = M$, and
        one of P prefixes, all as likely, is among them with probability $1 - (1 - 1/P)^u$.
        Requests that favour some prefixes find them more often.

        Args:
            batch: Running requests. [1] (row, node)

        References:
            H. Che, Y. Tung, Z. Wang, "Hierarchical Web Caching Systems: Modeling, Design and
            Experimental Results", IEEE JSAC 20(7), 2002 (the characteristic time of an LRU cache,
            counted in requests here).
        """
        if self.count == 1:
            return np.ones_like(batch)
        held, left = self.held_bytes[:, None], self.left_bytes[:, None]
        spare = self.kv_bytes[:, None] - batch * (held - left)
        window = np.maximum(self._solve(spare, left, self.prefix_bytes[:, None]), batch)
        result: Array = 1.0 - np.exp(window * self._log)
        return result

    @property
    def _log(self) -> float:
        return float(np.log1p(-1.0 / self.count))

    def _solve(self, room: Array, each: Array, prefix: Array) -> Array:
        """Return the n at which n requests and their prefixes fill a room. [1]

        The room filled is concave in n, so Newton's steps from 0 never pass the solution.
        """
        one = np.maximum(each, 1.0)
        if self.count == 1:
            return np.maximum(room - prefix, 0.0) / one
        prefixes = prefix * self.count
        n = np.zeros_like(room + one)
        for _ in range(_ROUNDS):
            rest = np.exp(n * self._log)
            miss = room - n * one - prefixes * (1.0 - rest)
            n = n + np.maximum(miss, 0.0) / (one - prefixes * rest * self._log)
        return n
