"""Which replica gets the next request."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.engine import Engine


class Router(StrEnum):
    """Which replica gets the next request.

    ``round_robin`` in turn; ``random`` any; ``least_requests`` the one with the fewest unended;
    ``least_kv_usage`` the one with the largest share of free KV blocks; ``prefix`` the one that
    holds most of the prompt, unless it has twice the requests of the least loaded and eight more;
    ``session`` always the same for a session, by its hash.
    """

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUESTS = "least_requests"
    LEAST_KV_USAGE = "least_kv_usage"
    PREFIX = "prefix"
    SESSION = "session"


BLIND = frozenset({Router.ROUND_ROBIN, Router.RANDOM, Router.SESSION})
"""Routers that do not look at the replicas."""
_SPREAD, _SLACK = 2, 8
_MIX = 0x9E3779B97F4A7C15
"""Knuth's multiplicative hash: 2^64 over the golden ratio."""


class Chooser:
    """A router at work."""

    def __init__(self, router: str, trace: Trace, replicas: int, seed: int) -> None:
        """Know the requests and how many replicas there are.

        Args:
            router: How to choose.
            trace: The requests.
            replicas: Replicas. [1]
            seed: Of the random router.
        """
        self._router = router
        self._trace = trace
        self._random = np.random.default_rng(seed)
        self._turn = -1
        self._given = [0] * replicas
        self._sessions = _sessions(trace) if router == Router.SESSION else None

    def choose(self, request: int, time_s: float, engines: Sequence[Engine], up: list[int]) -> int:
        """Return the replica, of those that are up, for a request at ``time_s``."""
        if self._sessions is not None:
            return up[(int(self._sessions[request]) * _MIX % 2**64) * len(up) >> 64]
        if self._router == Router.RANDOM:
            return up[int(self._random.integers(len(up)))]
        if self._router == Router.ROUND_ROBIN or len(up) == 1:
            self._turn += 1
            return up[self._turn % len(up)]
        for replica in up:
            engines[replica].run(until_s=time_s)
            self._given[replica] -= engines[replica].ended_by(time_s)
        if self._router == Router.LEAST_KV_USAGE:
            chosen = min(up, key=lambda r: (_usage(engines[r]), self._given[r]))
        else:
            chosen = min(up, key=self._given.__getitem__)
        if self._router == Router.PREFIX:
            held = {replica: engines[replica].cached_tokens(request) for replica in up}
            best = max(up, key=lambda r: (held[r], -self._given[r]))
            fewest = self._given[chosen]
            if held[best] and self._given[best] <= max(_SPREAD * fewest, fewest + _SLACK):
                chosen = best
        self._given[chosen] += 1
        return chosen

    def lost(self, replica: int) -> None:
        """Take note that a replica has failed and holds nothing any more."""
        self._given[replica] = 0


def _usage(engine: Engine) -> float:
    return engine.used_blocks / engine.usable_blocks


def _sessions(trace: Trace) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Session of each request: as the trace says, else its prompt's first hash, else itself."""
    if trace.session is not None:
        return trace.session
    if trace.hash_ids is not None:
        firsts = [own[min(1, len(own) - 1)] if own else -1 for own in trace.hash_ids]
        return np.asarray(firsts, dtype=np.int64)
    return np.arange(len(trace))
