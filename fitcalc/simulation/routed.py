"""A fleet whose router looks at the replicas, or whose replicas fail."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.fleet import Outage
from fitcalc.inputs.trace import Tokens, Trace
from fitcalc.simulation.arrivals import OpenLoop
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.records import Records, ended, joined_server, merged, records
from fitcalc.simulation.routers import Chooser
from fitcalc.units import Array


class Fleet:
    """Replicas that advance together, request by request."""

    def __init__(
        self,
        make: Callable[[int, Trace, OpenLoop], Engine],
        chooser: Chooser,
        trace: Trace,
        replicas: int,
    ) -> None:
        """Start every replica.

        Args:
            make: Starts a replica's engine.
            chooser: The router.
            trace: The requests.
            replicas: Replicas. [1]
        """
        self._make, self._chooser, self._trace = make, chooser, trace
        self._engines = [self._start(replica) for replica in range(replicas)]
        self._gone: list[tuple[int, Engine]] = []
        self._chosen = np.full(len(trace), -1, dtype=np.int64)
        self._up = list(range(replicas))
        self._events: list[tuple[float, int, int]] = []  # time, kind, request or replica

    def serve(self, times_s: Array, outages: Sequence[Outage]) -> None:
        """Send each request at its time, and let replicas fail and return.

        Raises:
            InvalidValue: an outage is of no replica, or no replica is left.
        """
        order = np.argsort(times_s, kind="stable").tolist()
        self._events = [(float(times_s[request]), _SENT, request) for request in order]
        _check(outages, len(self._engines))
        for outage in outages:
            heapq.heappush(self._events, (outage.start_s, _FAILS, outage.replica))
            if outage.end_s < inf:
                heapq.heappush(self._events, (outage.end_s, _RETURNS, outage.replica))
        while self._events:
            time_s, kind, which = heapq.heappop(self._events)
            if kind == _SENT:
                self._send(which, time_s)
            elif kind == _FAILS:
                self._fail(which, time_s)
            else:
                self._up = sorted({*self._up, which})
        for engine in self._engines:
            engine.run()

    def records(self, frontend: Array, *, delays: bool) -> Records:
        """Collect what all replicas did, before and after they failed."""
        parts: list[Records] = []
        positions: list[Tokens] = []
        for replica, engine in enumerate(self._engines):
            done = np.asarray(engine.requests.finish) >= 0
            mine = np.flatnonzero((self._chosen == replica) & done)
            part = records(engine, self._trace, frontend, mine, delays=delays)
            for which, before in self._gone:
                if which == replica:
                    served = ended(before)
                    past = records(before, self._trace, frontend, served, delays=delays)
                    both = [np.arange(len(served)), np.arange(len(mine)) + len(served)]
                    joined = merged([past, part], both)
                    part = replace(joined, servers=(joined_server(*joined.servers),))
                    mine = np.concatenate((served, mine))
            parts.append(part)
            positions.append(mine)
        return merged(parts, positions, len(self._trace))

    def _start(self, replica: int) -> Engine:
        engine = self._make(replica, self._trace, OpenLoop())
        engine.watched = True
        return engine

    def _send(self, request: int, time_s: float) -> None:
        if not self._up:
            returns = [at for at, kind, _ in self._events if kind == _RETURNS]
            if not returns:
                fix = "let one replica stay up, or return"
                raise InvalidValue("outages", "every replica", fix)
            heapq.heappush(self._events, (min(returns), _SENT, request))
            return
        replica = self._chooser.choose(request, time_s, self._engines, self._up)
        self._chosen[request] = replica
        self._engines[replica].arrivals.push(request, time_s)

    def _fail(self, replica: int, time_s: float) -> None:
        """Stop a replica; what it has not ended is sent again."""
        engine = self._engines[replica]
        engine.run(until_s=time_s)
        done = engine.requests
        mine = np.flatnonzero(self._chosen == replica)
        late = [r for r in mine.tolist() if done.finish[r] < 0 or done.finish_s[r] > time_s]
        for request in late:
            done.finish[request] = -1
            heapq.heappush(self._events, (time_s, _SENT, request))
        self._chosen[mine] = -1
        self._gone.append((replica, engine))
        self._engines[replica] = self._start(replica)
        self._engines[replica].timeline.wait_until(time_s)
        self._chooser.lost(replica)
        self._up = [other for other in self._up if other != replica]


_FAILS, _RETURNS, _SENT = -1, 0, 1


def _check(outages: Sequence[Outage], replicas: int) -> None:
    """Refuse outages of nobody, and of a replica that is down.

    Raises:
        InvalidValue: it names the outage.
    """
    down_until = [0.0] * replicas
    for outage in sorted(outages, key=lambda one: one.start_s):
        shown = f"{outage.replica}@{outage.start_s:g}s-{outage.end_s:g}s"
        if outage.replica >= replicas:
            raise InvalidValue("outages", shown, f"give a replica from 0 to {replicas - 1}")
        if outage.start_s < down_until[outage.replica]:
            raise InvalidValue("outages", shown, "let that replica return before it fails again")
        down_until[outage.replica] = outage.end_s
