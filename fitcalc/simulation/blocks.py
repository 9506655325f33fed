"""KV blocks: how many a sequence holds in each group of layers, and how many are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockRule:
    """How many blocks a sequence takes in equal groups of layers, and when it gives some back.

    A block holds ``block_size`` tokens (0: a state, which takes ``fixed`` blocks whatever the
    length). Once ``first`` tokens are settled, ``each`` blocks have left the window or the chunk,
    and as many again every ``period`` tokens; ``first`` of 0 means never. On admission no more
    than ``most`` blocks must be found; 0 means all (vllm/v1/core/single_type_kv_cache_manager.py).
    """

    block_size: int
    groups: int = 1
    fixed: int = 0
    first: int = 0
    period: int = 1
    each: int = 0
    most: int = 0

    @classmethod
    def sliding(cls, block_size: int, window: int, in_flight: int, groups: int = 1) -> BlockRule:
        """Layers that see the last ``window`` tokens. [tokens]"""
        most = -(-(window - 1 + in_flight) // block_size) + 1
        first = window - 1 + block_size
        return cls(block_size, groups, 0, first, block_size, groups, most)

    @classmethod
    def chunked(cls, block_size: int, chunk: int, in_flight: int, groups: int = 1) -> BlockRule:
        """Layers that see the tokens since the last multiple of ``chunk``. [tokens]"""
        most = -(-(chunk + in_flight) // block_size)
        return cls(block_size, groups, 0, chunk, chunk, groups * (chunk // block_size), most)

    @classmethod
    def state(cls, blocks: int, groups: int = 1) -> BlockRule:
        """Layers that keep a state and no tokens."""
        return cls(0, groups, fixed=blocks)

    @property
    def slides(self) -> bool:
        """Whether layers see a window that moves with every token."""
        return self.first > 0 and self.period == self.block_size

    @property
    def tail(self) -> int:
        """Blocks before a block's end that a window there sees. [1]"""
        return -(-(self.first - self.block_size) // self.block_size)

    def taken(self, tokens: int) -> int:
        """Blocks taken by the time there are so many tokens. [1]"""
        if not self.block_size:
            return self.groups * self.fixed
        return self.groups * -(-tokens // self.block_size)

    def given_back(self, settled: int) -> int:
        """Blocks given back by the time so many tokens are settled. [1]"""
        if not self.first or settled < self.first:
            return 0
        return self.each * (1 + (settled - self.first) // self.period)

    def to_find(self, tokens: int) -> int:
        """Blocks that must be free for a sequence of so many tokens to be admitted. [1]"""
        if not self.most:
            return self.taken(tokens)
        return self.groups * min(-(-tokens // self.block_size), self.most)


class BlockPool:
    """Free blocks where every layer keeps every token; prefix hits are given, not found.

    A request that has computed n tokens holds ceil(n / block_size) blocks, less those it shares.
    Block 0 is vLLM's null block and never holds tokens (vllm/v1/core/block_pool.py).

    Attributes:
        block_size: Tokens of one block. [tokens]
        usable: Blocks that requests can hold. [1]
        free: Blocks that can be taken now. [1]
        rules: How sequences grow, one rule for each kind of layers.
    """

    __slots__ = ("_hits", "_partial_blocks", "_shared", "block_size", "free", "rules", "usable")

    def __init__(
        self,
        num_gpu_blocks: int,
        block_size: int,
        hits: Sequence[int] = (),
        shared_blocks: int = 0,
        *,
        partial_blocks: bool = False,
    ) -> None:
        """Open the pool.

        Args:
            num_gpu_blocks: Blocks as vLLM counts them, the null block included. [1]
            block_size: Tokens of one block. [tokens]
            hits: Each request's prompt tokens that need no computing; empty = none. [tokens]
            shared_blocks: Blocks at the start of every prompt that all hold once. [1]
            partial_blocks: Whether hits may end inside a block: the KV was sent, not found.
        """
        self.block_size = block_size
        self.usable = num_gpu_blocks - 1
        self.free = self.usable - shared_blocks
        self.rules: tuple[BlockRule, ...] = (BlockRule(block_size),)
        self._hits = hits
        self._shared = shared_blocks
        self._partial_blocks = partial_blocks

    def blocks(self, tokens: int) -> int:
        """Blocks that hold this many tokens. [1]"""
        return -(-tokens // self.block_size)

    def hit_tokens(self, request: int, target: int) -> int:
        """Leading tokens of a request that need no computing; at least one is left. [tokens]"""
        if not self._hits:
            return 0
        size = 1 if self._partial_blocks else self.block_size
        return min(self._hits[request], (target - 1) // size * size)

    @property
    def blank(self) -> int:
        """Free blocks that may be taken in any order. [1]"""
        return self.free

    def needed(self, request: int, target: int, hit: int, computed: int) -> int:  # noqa: ARG002
        """Free blocks that a request must find to be admitted, its whole length at once. [1]"""
        return self.blocks(target) - self._sharing(hit)

    def admit(self, request: int, hit: int, computed: int) -> None:  # noqa: ARG002
        """Take the blocks of a request's first chunk."""
        self.take(self.blocks(computed) - self._sharing(hit))

    def growth(self, request: int, before: int, after: int) -> int:  # noqa: ARG002
        """Blocks that a request's next chunk takes. [1]"""
        return self.blocks(after) - self.blocks(before)

    def extend(self, request: int, before: int, after: int) -> None:
        """Take the blocks of a request's next chunk."""
        self.take(self.growth(request, before, after))

    def settle(self, request: int, settled: int) -> None:
        """Give back the blocks that no later token needs once ``settled`` tokens are there."""

    def take(self, count: int) -> None:
        """Take free blocks."""
        self.free -= count

    def release(self, request: int, computed: int, known: int) -> None:  # noqa: ARG002
        """Give back what a request held after ``computed`` tokens, ``known`` of them settled."""
        hit = self._hits[request] if self._hits else 0
        self.free += self.blocks(computed) - self._sharing(hit)

    def warm_up(self, request: int, tokens: int) -> None:
        """Take note that a request's prompt of so many tokens has been served before."""

    def ended(self, request: int) -> None:
        """Forget what only this request could have used again."""

    def most(self, request: int, tokens: int) -> tuple[int, int]:
        """Blocks of a request that grows to ``tokens``, and blocks there are for it. [1]"""
        hit = self._hits[request] if self._hits else 0
        return self.blocks(tokens) - self._sharing(hit), self.usable - self._shared

    def _sharing(self, hit: int) -> int:
        return min(self._shared, hit // self.block_size)


class GroupedBlockPool(BlockPool):
    """Free blocks where kinds of layers differ: all tokens, a window, a chunk, or a state.

    Prefix hits are given as in ``BlockPool``; they save computing, no blocks.
    """

    __slots__ = ("_given",)

    def __init__(
        self, num_gpu_blocks: int, rules: tuple[BlockRule, ...], hits: Sequence[int] = ()
    ) -> None:
        """Open the pool.

        Args:
            num_gpu_blocks: Blocks as vLLM counts them, the null block included. [1]
            rules: How sequences grow, one rule for each kind of layers.
            hits: Each request's prompt tokens that need no computing; empty = none. [tokens]
        """
        sizes = [rule.block_size for rule in rules if rule.block_size]
        super().__init__(num_gpu_blocks, min(sizes, default=1), hits)
        self.rules = rules
        self._given: dict[int, list[int]] = {}  # request -> blocks given back, by rule

    def blocks(self, tokens: int) -> int:
        """Blocks taken by the time there are so many tokens. [1]"""
        return sum(rule.taken(tokens) for rule in self.rules)

    def needed(self, request: int, target: int, hit: int, computed: int) -> int:  # noqa: ARG002
        """Free blocks that a request must find; windows need no more than they hold. [1]"""
        return sum(rule.to_find(target) for rule in self.rules)

    def admit(self, request: int, hit: int, computed: int) -> None:
        """Take the blocks of a request's first chunk; those below a window are never taken."""
        self._given[request] = [0] * len(self.rules)
        self.take(self.blocks(computed))
        self.settle(request, hit)

    def settle(self, request: int, settled: int) -> None:
        """Give back the blocks that no later token needs once ``settled`` tokens are there."""
        for number in range(len(self.rules)):
            self.settle_rule(request, number, settled)

    def settle_rule(self, request: int, number: int, settled: int, *, noted: bool = False) -> None:
        """Give back blocks of one kind of layers; if ``noted``, they already count as free."""
        given, before = self.rules[number].given_back(settled), self._given[request][number]
        if given > before:
            self._given[request][number] = given
            if not noted:
                self.free += given - before

    def release(self, request: int, computed: int, known: int) -> None:  # noqa: ARG002
        """Give back what a request still held."""
        self.free += self.blocks(computed) - sum(self._given.pop(request))

    def most(self, request: int, tokens: int) -> tuple[int, int]:  # noqa: ARG002
        """Blocks a request must find when it is longest, and all blocks. [1]"""
        return sum(rule.to_find(tokens) for rule in self.rules), self.usable
