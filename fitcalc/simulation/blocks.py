"""KV blocks: how many are free, who shares them, and which prefixes stay cached."""

from __future__ import annotations

from collections.abc import Sequence

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace


class BlockPool:
    """Free blocks of one full-attention group; prefix hits are given, not found.

    A request that has computed n tokens holds ceil(n / block_size) blocks, less those it shares.
    Block 0 is vLLM's null block and never holds tokens (vllm/v1/core/block_pool.py).

    Attributes:
        block_size: Tokens of one block. [tokens]
        usable: Blocks that requests can hold. [1]
        free: Blocks that can be taken now. [1]
    """

    __slots__ = ("_hits", "_shared", "block_size", "free", "usable")

    def __init__(
        self, num_gpu_blocks: int, block_size: int, hits: Sequence[int], shared_blocks: int
    ) -> None:
        """Open the pool.

        Args:
            num_gpu_blocks: Blocks as vLLM counts them, the null block included. [1]
            block_size: Tokens of one block. [tokens]
            hits: Each request's prompt tokens that the prefix cache serves. [tokens]
            shared_blocks: Blocks at the start of every prompt that all hold once. [1]
        """
        self.block_size = block_size
        self.usable = num_gpu_blocks - 1
        self.free = self.usable - shared_blocks
        self._hits = hits
        self._shared = shared_blocks

    def blocks(self, tokens: int) -> int:
        """Blocks that hold this many tokens. [1]"""
        return -(-tokens // self.block_size)

    def hit_tokens(self, request: int, target: int) -> int:
        """Leading tokens of a request that need no computing; at least one is left. [tokens]"""
        return min(self._hits[request], (target - 1) // self.block_size * self.block_size)

    def needed(self, request: int, target: int, hit: int) -> int:  # noqa: ARG002
        """Free blocks that a request must find to be admitted, its whole length at once. [1]"""
        return self.blocks(target) - self._sharing(hit)

    def admit(self, request: int, hit: int, computed: int) -> None:  # noqa: ARG002
        """Take the blocks of a request's first chunk."""
        self.take(self.blocks(computed) - self._sharing(hit))

    def extend(self, request: int, before: int, after: int) -> None:  # noqa: ARG002
        """Take the blocks of a request's next chunk."""
        self.take(self.blocks(after) - self.blocks(before))

    def take(self, count: int) -> None:
        """Take free blocks."""
        self.free -= count

    def release(self, request: int, computed: int) -> None:
        """Give back what a request held after ``computed`` tokens."""
        self.free += self.blocks(computed) - self._sharing(self._hits[request])

    def most(self, request: int, tokens: int) -> tuple[int, int]:
        """Blocks of a request that grows to ``tokens``, and blocks there are for it. [1]"""
        return self.blocks(tokens) - self._sharing(self._hits[request]), self.usable - self._shared

    def _sharing(self, hit: int) -> int:
        return min(self._shared, hit // self.block_size)


class HashedBlockPool(BlockPool):
    """A pool whose prefix cache is real: hashed prompt blocks, least recently used out first.

    Blocks of ended requests stay cached until free blocks run out. A hash of the trace spans
    several blocks; only whole hashes are shared. Blocks without a hash are taken first.
    """

    __slots__ = ("_cached", "_evictable", "_own", "_span", "_users")

    def __init__(
        self,
        num_gpu_blocks: int,
        block_size: int,
        trace: Trace,
    ) -> None:
        """Open the pool with nothing cached, for the prompts of a trace with hashes.

        Raises:
            InvalidValue: a hash does not span whole blocks.
        """
        super().__init__(num_gpu_blocks, block_size, (), 0)
        tokens = trace.hash_block_tokens
        if tokens % block_size:
            fix = f"give one that divides the trace's hash blocks of {tokens} tokens"
            raise InvalidValue("block_size", block_size, fix)
        whole = (trace.isl // tokens).tolist()
        ids = trace.hash_ids or ((),) * len(trace)
        self._own = [own[:count] for own, count in zip(ids, whole, strict=True)]
        self._span = tokens // block_size
        self._cached: dict[int, int] = {}  # hash -> requests that hold it
        self._evictable: dict[int, None] = {}  # hashes nobody holds, oldest first
        self._users: dict[int, list[int]] = {}  # request -> hashes it holds

    def hit_tokens(self, request: int, target: int) -> int:
        """Leading tokens whose hashes are cached; at least one token is left. [tokens]"""
        tokens = self._span * self.block_size
        found = 0
        for key in self._own[request][: (target - 1) // tokens]:
            if key not in self._cached:
                break
            found += 1
        return found * tokens

    def needed(self, request: int, target: int, hit: int) -> int:
        """Free blocks to be found; cached blocks that nobody holds count as free until hit. [1]"""
        held = self._leading(request, hit)
        asleep = sum(key in self._evictable for key in held)
        return self.blocks(target) - (len(held) - asleep) * self._span

    def admit(self, request: int, hit: int, computed: int) -> None:
        """Hold the hashes that hit, take blocks for the first chunk and cache its hashes."""
        held = list(self._leading(request, hit))
        for key in held:
            if key in self._evictable:
                del self._evictable[key]
                self.free -= self._span
            self._cached[key] += 1
        self._users[request] = held
        self.extend(request, hit, computed)

    def extend(self, request: int, before: int, after: int) -> None:
        """Take blocks for a chunk and cache the hashes it completes."""
        self.take(self.blocks(after) - self.blocks(before))
        tokens = self._span * self.block_size
        held = self._users[request]
        for key in self._own[request][before // tokens : after // tokens]:
            if key not in self._cached:
                self._cached[key] = 1
                held.append(key)

    def take(self, count: int) -> None:
        """Take free blocks, forgetting the oldest hashes where no other block is left."""
        self.free -= count
        while len(self._evictable) * self._span > self.free:
            oldest = next(iter(self._evictable))
            del self._evictable[oldest], self._cached[oldest]

    def release(self, request: int, computed: int) -> None:
        """Give back a request's blocks; its hashes stay, the prompt's start longest."""
        held = self._users.pop(request)
        self.free += self.blocks(computed) - len(held) * self._span
        for key in reversed(held):
            self._cached[key] -= 1
            if self._cached[key] == 0:
                self._evictable[key] = None
                self.free += self._span

    def most(self, request: int, tokens: int) -> tuple[int, int]:  # noqa: ARG002
        """Blocks of a request that shares nothing, and all blocks. [1]"""
        return self.blocks(tokens), self.usable

    def _leading(self, request: int, hit: int) -> tuple[int, ...]:
        return self._own[request][: hit // (self._span * self.block_size)]
