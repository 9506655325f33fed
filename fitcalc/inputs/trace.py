"""A trace: when each request came, and how long it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.trace_file import read_columns
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import Array

Tokens = NDArray[np.int64]
HASH_BLOCK_TOKENS = 512
"""Tokens that one prefix hash id stands for in Mooncake's traces (its README)."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in order of arrival, the first at 0 s.

    Attributes:
        arrival_s: When a request is sent. [s]
        isl: Its input sequence length. [tokens]
        osl: Its output sequence length. [tokens]
        hash_ids: Ids of its prompt's blocks of ``hash_block_tokens``; equal leading ids are
            equal text. ``None`` where the prompts share nothing that is known.
        hash_block_tokens: Tokens of one hashed block. [tokens]
        priority: vLLM's priority, lower runs first; ``None`` = all alike.
        session: Conversation that each request belongs to; ``None`` = not known.
        kind: Which of several classes of traffic each request is of; ``None`` = one class.
        kind_names: What those classes are called.
        skipped: Rows of the file that were passed over because they make no sense. [1]
    """

    arrival_s: Array
    isl: Tokens
    osl: Tokens
    hash_ids: tuple[tuple[int, ...], ...] | None = None
    hash_block_tokens: int = HASH_BLOCK_TOKENS
    priority: Tokens | None = None
    session: Tokens | None = None
    kind: Tokens | None = None
    kind_names: tuple[str, ...] = ()
    skipped: int = 0

    def __post_init__(self) -> None:
        """Check the arrays against each other.

        Raises:
            InvalidValue: no request, arrays of unequal length, times that fall, or no tokens.
        """
        count = len(self.arrival_s)
        if count == 0:
            raise InvalidValue("trace", "empty", "give at least one request")
        hashed = count if self.hash_ids is None else len(self.hash_ids)
        if not (count == len(self.isl) == len(self.osl) == hashed):
            raise InvalidValue("trace", "columns", "give columns of one length")
        if not (np.isfinite(self.arrival_s).all() and (np.diff(self.arrival_s) >= 0).all()):
            raise InvalidValue("arrival_s", "unordered", "give finite times in rising order")
        if min(self.isl.min(), self.osl.min()) < 1:
            raise InvalidValue("trace", "0 tokens", "give lengths of at least one token")

    def __len__(self) -> int:
        """Count the requests. [1]"""
        return len(self.arrival_s)

    @property
    def span_s(self) -> float:
        """First to last arrival. [s]"""
        return float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def qps(self) -> float:
        """Mean rate of arrivals over the span; infinite when all come at once. [1/s]"""
        return (len(self) - 1) / self.span_s if self.span_s > 0 else math.inf

    @classmethod
    def read(cls, path: Path | str, *, skip_bad: bool = False) -> Self:
        """Read a ``.csv`` or ``.jsonl`` file, gzipped or not.

        Columns: ``arrival_s, input_tokens, output_tokens[, hash_ids]``; or Azure's ``TIMESTAMP,
        ContextTokens, GeneratedTokens``; or Mooncake's ``timestamp`` [ms] ``, input_length,
        output_length[, hash_ids]``. Besides, whole numbers ``priority`` and ``session``. Rows
        stand in the order in which they were sent.

        Args:
            path: The file.
            skip_bad: Whether to pass over rows that make no sense, and count them.

        Raises:
            InvalidValue: the file cannot be read, or names the row and column that is wrong.
        """
        found = read_columns(Path(path), skip_bad=skip_bad)
        times_s = np.asarray(found.times_s)
        return cls(
            arrival_s=times_s - times_s[0],
            isl=np.asarray(found.isl, dtype=np.int64),
            osl=np.asarray(found.osl, dtype=np.int64),
            hash_ids=tuple(found.hash_ids) or None,
            priority=np.asarray(found.priority, dtype=np.int64) if found.priority else None,
            session=np.asarray(found.session, dtype=np.int64) if found.session else None,
            skipped=found.skipped,
        )

    @classmethod
    def from_traffic(
        cls, traffic: Traffic, *, seed: int = 0, num_requests: int | None = None
    ) -> Self:
        """Draw requests: Gamma gaps for an open loop, all at 0 s for a closed one.

        Gaps have shape ``burstiness`` and mean 1/qps, scaled so that the last request comes on
        time, as in vllm/benchmarks/serve.py (``get_request``). Times, inputs and outputs come from
        streams of their own, so that another rate keeps the lengths.

        Args:
            traffic: The load.
            seed: Equal seeds draw equal requests.
            num_requests: Requests to draw; ``None`` = the traffic's own number.

        Raises:
            InvalidValue: neither says how many requests.
        """
        count = traffic.num_requests if num_requests is None else num_requests
        if count is None or count < 1:
            raise InvalidValue("num_requests", count, "give a number of requests above 0")
        streams = np.random.default_rng(seed).spawn(3)
        gaps = np.zeros(count)
        if traffic.qps is not None:
            scale = 1.0 / (traffic.qps * traffic.burstiness)
            gaps[1:] = streams[0].gamma(traffic.burstiness, scale, count - 1)
            gaps *= (count - 1) / (traffic.qps * gaps.sum()) if gaps.any() else 0.0
        drawn = cls(
            arrival_s=np.cumsum(gaps),
            isl=traffic.isl.sample(streams[1], count),
            osl=traffic.osl.sample(streams[2], count),
        )
        if traffic.num_prefixes == 1:
            return drawn
        chosen = np.random.default_rng(seed).spawn(5)[4].integers(traffic.num_prefixes, size=count)
        return replace(
            drawn,
            hash_ids=tuple((prefix,) for prefix in chosen.tolist()),
            hash_block_tokens=traffic.prefix_tokens,
        )

    def lengths(self) -> tuple[Lengths, Lengths]:
        """Histograms of inputs and outputs, for answers in closed form. [tokens]"""
        return _histogram(self.isl), _histogram(self.osl)

    def part(self, chosen: NDArray[np.int64]) -> Trace:
        """Return the requests at rising positions ``chosen``, their times kept."""
        hashes = self.hash_ids
        return Trace(
            arrival_s=self.arrival_s[chosen],
            isl=self.isl[chosen],
            osl=self.osl[chosen],
            hash_ids=None if hashes is None else tuple(hashes[i] for i in chosen),
            hash_block_tokens=self.hash_block_tokens,
            priority=None if self.priority is None else self.priority[chosen],
            session=None if self.session is None else self.session[chosen],
            kind=None if self.kind is None else self.kind[chosen],
            kind_names=self.kind_names,
            skipped=self.skipped,
        )


def _histogram(lengths: Tokens) -> Lengths:
    values, counts = np.unique(lengths, return_counts=True)
    return Lengths.histogram(tuple(map(float, values)), tuple(map(float, counts)))
