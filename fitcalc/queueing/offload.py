"""Prefixes that the KV cache has lost and host memory still holds, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.units import Array


@dataclass(frozen=True, slots=True)
class HostRoom(PrefixRoom):
    """The KV cache of servers with a second one in host memory behind it.

    vLLM copies blocks there as they are computed, so that it holds what the last requests brought,
    those of the GPU's cache too.

    Attributes:
        host_bytes: Host memory of a rank. [B]
    """

    host_bytes: float

    def found(self, batch: Array) -> Array:
        r"""Share of requests whose prefix either cache has. [1] (row, node).

        Host memory of $H$ bytes holds the last $v$ requests, $v\,l + P p\,(1 - (1 - 1/P)^v) = H$,
        and one of P prefixes is among them with probability $1 - (1 - 1/P)^v$; whichever cache
        reaches further back decides.

        Args:
            batch: Running requests. [1] (row, node)
        """
        own: Array = PrefixRoom.found(self, batch)
        room = np.full_like(self.left_bytes, self.host_bytes)
        window = self._solve(room, self.left_bytes, self.prefix_bytes)
        far = 1.0 - np.exp(window * self._log) if self.count > 1 else np.ones_like(window)
        return np.maximum(own, far[:, None])
