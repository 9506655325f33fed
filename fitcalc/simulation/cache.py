"""The prefix cache: hashed blocks stay after their request until blocks run out, oldest first.

vLLM's free queue (vllm/v1/core/block_pool.py) holds blocks without a hash in front, then cached
ones in the order in which they were last let go, each request's last block first. Here the queue
holds spans of blocks: the blocks of one hash of the trace, or what else of one request is cached.
"""

from __future__ import annotations

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace
from fitcalc.simulation.blocks import BlockPool


class _Span:
    """Blocks that were computed together: their key, how many, and requests that hold them."""

    __slots__ = ("blocks", "key", "users")

    def __init__(self, key: int, blocks: int, users: int) -> None:
        self.key = key
        self.blocks = blocks
        self.users = users


class CachedBlockPool(BlockPool):
    """A pool with vLLM's prefix cache over one group of layers.

    Prompts share whole hashes of the trace. Besides, a preempted request finds its own blocks
    again unless they were taken meanwhile. Keys of its own are ~request, which no hash is.
    """

    __slots__ = ("_asleep", "_held", "_own", "_sleeping", "_span", "_spans")

    def __init__(self, num_gpu_blocks: int, block_size: int, trace: Trace) -> None:
        """Open the pool with nothing cached.

        Raises:
            InvalidValue: a hash does not span whole blocks.
        """
        super().__init__(num_gpu_blocks, block_size)
        tokens = trace.hash_block_tokens
        self._own: list[tuple[int, ...]] | None = None
        if trace.hash_ids is not None:
            if tokens % block_size:
                fix = f"give one that divides the trace's hash blocks of {tokens} tokens"
                raise InvalidValue("block_size", block_size, fix)
            whole = (trace.isl // tokens).tolist()
            self._own = [own[:n] for own, n in zip(trace.hash_ids, whole, strict=True)]
        self._span = tokens // block_size
        self._spans: dict[int, list[_Span]] = {}  # key -> spans that hold it, the first one hits
        self._asleep: dict[_Span, None] = {}  # cached and held by nobody, oldest first
        self._sleeping = 0  # their blocks
        self._held: dict[int, list[_Span]] = {}  # request -> hashed spans it holds, in order

    def hit_tokens(self, request: int, target: int) -> int:
        """Leading tokens whose blocks are cached; at least one token is left. [tokens]"""
        if self._own is None and ~request not in self._spans:
            return 0
        keys = self._keys(request)
        tokens = self._span * self.block_size
        found = 0
        for key in keys[: (target - 1) // tokens]:
            if key not in self._spans:
                break
            found += 1
        hit = found * tokens
        mine = self._spans.get(~request)
        if mine is not None and found == len(keys):
            size = self.block_size
            hit += min(mine[0].blocks * size, (target - 1 - hit) // size * size)
        return hit

    def needed(self, request: int, target: int, hit: int, computed: int) -> int:  # noqa: ARG002
        """Free blocks to be found; cached blocks that nobody holds count as free until hit. [1]"""
        if not hit:
            return -(-target // self.block_size)
        awake = sum(span.blocks for span in self._leading(request, hit) if span.users)
        return self.blocks(target) - awake

    def admit(self, request: int, hit: int, computed: int) -> None:
        """Hold the spans that hit, take blocks for the first chunk and cache its hashes."""
        held = self._leading(request, hit) if hit else []
        mine = hit // self.block_size - len(held) * self._span
        for span in held:
            if not span.users:
                self._wake(span)
            span.users += 1
        if mine:
            span = self._spans.pop(~request)[0]
            span.blocks -= mine  # what is left keeps its place in the queue
            self._sleeping -= mine
            self.free -= mine
            if not span.blocks:
                del self._asleep[span]
        self._held[request] = held
        self.extend(request, hit, computed)

    def extend(self, request: int, before: int, after: int) -> None:
        """Take blocks for a chunk and cache the hashes it completes."""
        self.take(self.blocks(after) - self.blocks(before))
        if self._own is None:
            return
        tokens = self._span * self.block_size
        held = self._held[request]
        for key in self._keys(request)[len(held) : after // tokens]:
            span = _Span(key, self._span, 1)
            self._spans.setdefault(key, []).append(span)
            held.append(span)

    def take(self, count: int) -> None:
        """Take free blocks, forgetting the oldest cached ones where no other is left."""
        self.free -= count
        while self._sleeping > self.free:
            oldest = next(iter(self._asleep))
            gone = min(self._sleeping - self.free, oldest.blocks)
            if oldest.key < 0 and gone < oldest.blocks:
                oldest.blocks -= gone
                self._sleeping -= gone
                return
            del self._asleep[oldest]
            self._sleeping -= oldest.blocks
            self._forget(oldest)

    def release(self, request: int, computed: int, known: int) -> None:
        """Let go of a request's blocks: full ones stay cached, its prompt's start longest."""
        held = self._held.pop(request)
        hashed = len(held) * self._span
        mine = known // self.block_size - hashed
        self.free += self.blocks(computed) - hashed
        if mine > 0:
            span = _Span(~request, mine, 0)
            self._spans[~request] = [span]
            self._asleep[span] = None
            self._sleeping += mine
        for span in reversed(held):
            span.users -= 1
            if not span.users:
                self._sleep(span)

    def warm_up(self, request: int, tokens: int) -> None:
        """Cache a prompt as if somebody had asked it before and left."""
        left = min(tokens // self.block_size, self.free)
        for key in self._keys(request):
            if left < self._span:
                break
            self._spans[key] = [_Span(key, self._span, 0)]
            left -= self._span
        else:
            if left:
                self._spans[~request] = [_Span(~request, left, 0)]
        for spans in reversed(self._spans.values()):
            self._asleep[spans[0]] = None
            self._sleeping += spans[0].blocks

    def ended(self, request: int) -> None:
        """Nobody else asks for the blocks that only this request knows; they sleep on."""
        self._spans.pop(~request, None)

    def most(self, request: int, tokens: int) -> tuple[int, int]:  # noqa: ARG002
        """Blocks of a request that shares nothing, and all blocks. [1]"""
        return self.blocks(tokens), self.usable

    def _keys(self, request: int) -> tuple[int, ...]:
        return () if self._own is None else self._own[request]

    def _leading(self, request: int, hit: int) -> list[_Span]:
        count = hit // (self._span * self.block_size)
        return [self._spans[key][0] for key in self._keys(request)[:count]]

    def _wake(self, span: _Span) -> None:
        del self._asleep[span]
        self._sleeping -= span.blocks
        self.free -= span.blocks

    def _sleep(self, span: _Span) -> None:
        self._asleep[span] = None
        self._sleeping += span.blocks
        self.free += span.blocks

    def _forget(self, span: _Span) -> None:
        spans = self._spans.get(span.key)
        if spans is not None and span in spans:
            spans.remove(span)
            if not spans:
                del self._spans[span.key]
