"""What a plan searches: candidates, what each was found to carry, and the question itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Rejection
from fitcalc.catalog.model import LlmModel
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.scaled import with_efficiency
from fitcalc.physics.stacked import gather, take
from fitcalc.physics.step import StepModel
from fitcalc.planning.candidates import Block
from fitcalc.planning.kept import Tried
from fitcalc.planning.prefix_room import prefix_room, requests_held, shares_blocks
from fitcalc.queueing.profile import Profile, profile
from fitcalc.units import Array

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate: a row of a block, and what bounds it.

    Attributes:
        index: Its row in the stack of all candidates.
        block: Its block.
        row: Its row there.
        load: No replica carries more: requests a second, or clients.
        refused: Why it cannot keep the promise at any load; ``None`` = it might.
    """

    index: int
    block: Block
    row: int
    load: float
    refused: Rejection | None

    @property
    def gpu(self) -> str:
        """Table id of its GPU type."""
        return self.block.gpus[self.row].id

    @property
    def gpus(self) -> int:
        """GPUs of one replica. [1]"""
        return self.block.split.tp * self.block.split.pp


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate with its batch limits, and the load a replica carries within the promise.

    ``kv_bytes`` is the KV cache that these limits leave a rank. [B]
    """

    entry: Entry
    max_num_seqs: int
    max_num_batched_tokens: int
    max_batch: float
    kv_bytes: float
    load: float


@dataclass(frozen=True, slots=True)
class Search:
    """What every candidate of one question shares.

    ``mean_share`` is the day's mean rate over the traffic's; ``spare`` servers may be lost;
    ``efficiency`` is the kernels' share of their peaks over the fitted one. [1]
    """

    model: LlmModel
    blocks: tuple[Block, ...]
    traffic: Traffic
    slo: Slo
    prefix_caching: bool
    mean_share: float = 1.0
    spare: int = 0
    efficiency: float = 1.0

    @property
    def closed(self) -> bool:
        """Whether the load is clients in a loop."""
        return self.traffic.concurrency is not None

    @property
    def tried(self) -> Tried:
        """The batch limits that are tried."""
        return self.blocks[0].tried

    def share(self, replicas: int) -> Traffic:
        """Return what reaches one of some servers when the spare ones are lost."""
        return self.traffic.share(max(1, replicas - self.spare))

    def server(
        self, some: Sequence[Entry], batch: Array, tokens: Array, kv_bytes: Array
    ) -> Profile:
        """Return the profile of candidates at their largest batch, token budget and KV cache."""
        index = np.array([entry.index for entry in some], dtype=np.intp)
        shared = shares_blocks(self.traffic, prefix_caching=self.prefix_caching)
        layouts = [entry.block.layout for entry in some] if shared else []
        return profile(
            take(stack_of(self.blocks, self.efficiency), index),
            self.traffic,
            np.maximum(batch, 1.0),
            tokens,
            prefix_caching=self.prefix_caching,
            prefixes=prefix_room(self.traffic, layouts, kv_bytes) if shared else None,
        )

    def servers(self, some: Sequence[Found]) -> Profile:
        """Return the profile of candidates as they were found."""
        return self.server(
            [one.entry for one in some],
            np.array([one.max_batch for one in some]),
            np.array([float(one.max_num_batched_tokens) for one in some]),
            np.array([one.kv_bytes for one in some]),
        )

    def held(self, block: Block, kv_bytes: Array) -> Array:
        """Requests that run at once in so much KV cache of a block's ranks. [1]"""
        return requests_held(
            self.traffic, block.layout, kv_bytes, prefix_caching=self.prefix_caching
        )


@lru_cache(maxsize=16)
def stack_of(blocks: tuple[Block, ...], efficiency: float) -> StepModel:
    """Return the step times of all candidates in one stack, block by block."""
    stack = gather([(block.step, len(block.gpus)) for block in blocks])
    return with_efficiency(stack, efficiency)
