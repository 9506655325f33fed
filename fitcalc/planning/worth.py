"""What orders candidates: limits first, then money of whole instances, then GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fitcalc.planning.cost import Bill, bill, replicas_for
from fitcalc.planning.market import Market
from fitcalc.planning.search import Entry

_OUT = math.inf


@dataclass(frozen=True, slots=True)
class Worth:
    """Ranks a candidate that carries so much; a heavier load on a replica never ranks it lower.

    Attributes:
        load: Of the whole question: requests a second, or clients.
        headroom: Share of a replica's load that is left free. [1]
        sold: What may be bought.
        max_gpus: Most GPUs in all; who takes more comes last.
        spare: Servers that may be lost. [1]
    """

    load: float
    headroom: float
    sold: Market
    max_gpus: int | None
    spare: int = 0

    def order(self, entry: Entry, each: float) -> tuple[float, ...]:
        """Rank a candidate whose replicas carry ``each``: the lowest is the best."""
        replicas = replicas_for(self.load, each, self.headroom) + self.spare
        if math.isinf(replicas):
            return (_OUT,)
        gpus = int(replicas) * entry.gpus
        found = bill(entry.gpu, entry.gpus, int(replicas), self.sold)
        over = self.max_gpus is not None and gpus > self.max_gpus
        return (float(over), *order(found, gpus))


def order(found: Bill | None, gpus: int) -> tuple[float, float, float]:
    """Rank by money, then by GPUs; what has no price comes last."""
    return float(found is None), found.usd_per_hour if found else 0.0, float(gpus)
