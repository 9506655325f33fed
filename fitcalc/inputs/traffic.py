"""What arrives: requests a second or clients in a loop, and how long they are."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths, as_lengths
from fitcalc.inputs.question import Question
from fitcalc.units import parse_rate, parse_tokens

_MOST_QPS = 1e6
_MOST_CLIENTS = 1e6
_MOST_REQUESTS = 10_000_000


class Traffic(Question):
    """The load of one service: open loop (``qps``) or closed loop (``concurrency``).

    Attributes:
        qps: Offered requests a second, or a rate as people write it: "1M/day". [1/s]
        concurrency: Clients that each wait for their answer before asking again, all starting
            at once, as ``vllm bench serve --max-concurrency`` drives them. [1]
        isl: Input sequence length; a number means fixed. [tokens]
        osl: Output sequence length; a number means fixed. [tokens]
        num_requests: Requests to run; ``None`` = a steady state. [1]
        burstiness: 1 = Poisson; below 1 burstier, above 1 more regular (vLLM's word). [1]
        prefix_tokens: Tokens at the start of every prompt that requests share. [tokens]
        num_prefixes: Such prefixes, each as likely as any other; 1 = all share the same. [1]
        prefix_hit: Share of the prompt tokens served from the prefix cache. [1]
    """

    qps: float | None = Field(default=None, gt=0, le=_MOST_QPS, allow_inf_nan=False)
    concurrency: int | None = Field(default=None, gt=0, le=_MOST_CLIENTS)
    isl: Lengths
    osl: Lengths
    num_requests: int | None = Field(default=None, gt=0, le=_MOST_REQUESTS)
    burstiness: float = Field(default=1.0, gt=0, le=1e3, allow_inf_nan=False)
    prefix_tokens: int = Field(default=0, ge=0)
    num_prefixes: int = Field(default=1, ge=1, le=_MOST_REQUESTS)
    prefix_hit: float = Field(default=0.0, ge=0, le=0.99, allow_inf_nan=False)

    @field_validator("prefix_tokens", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        return parse_tokens(value, "prefix_tokens") if isinstance(value, str) else value

    @field_validator("qps", mode="before")
    @classmethod
    def _rate(cls, value: object) -> object:
        if isinstance(value, bool):
            raise InvalidValue("qps", value, "give a rate such as 20, 20/s, 90/min or 1M/day")
        return parse_rate(value, "qps") if isinstance(value, str) else value

    @field_validator("isl", "osl", mode="before")
    @classmethod
    def _lengths(cls, value: object) -> object:
        if isinstance(value, str):
            return as_lengths(parse_tokens(value, "tokens"))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return as_lengths(value)
        return value

    @model_validator(mode="after")
    def _one_loop(self) -> Traffic:
        if self.qps is not None and self.concurrency is not None:
            fix = "give either qps (open loop) or concurrency (closed loop), not both"
            raise InvalidValue("concurrency", self.concurrency, fix)
        if self.qps is None and self.concurrency is None:
            fix = "give qps (requests a second) or concurrency (clients that wait)"
            raise InvalidValue("qps", None, fix)
        if self.prefix_tokens >= self.isl.mean + 1:
            fix = f"give fewer than the mean isl of {self.isl.mean:,.0f} tokens"
            raise InvalidValue("prefix_tokens", self.prefix_tokens, fix)
        if self.num_prefixes > 1 and (self.prefix_hit or not self.prefix_tokens):
            fix = "give it beside prefix_tokens, and no prefix_hit: the hits follow from both"
            raise InvalidValue("num_prefixes", self.num_prefixes, fix)
        return self

    @property
    def hit_share(self) -> float:
        """Share of prompt tokens that the prefix cache serves when it has all prefixes. [1]"""
        return max(self.prefix_hit, min(self.prefix_tokens / self.isl.mean, 0.99))

    @property
    def context(self) -> float:
        """Tokens a request holds when it ends, on average. [tokens]"""
        return self.isl.mean + self.osl.mean

    @property
    def load(self) -> float:
        """Requests a second of an open loop, or clients of a closed one."""
        return float(self.concurrency or self.qps or 0.0)

    def share(self, replicas: int) -> Self:
        """Return what reaches one of some replicas, spread evenly; clients come whole."""
        if self.qps is not None:
            return self.replace(qps=self.qps / replicas)
        return self.replace(concurrency=-(-(self.concurrency or 1) // replicas))

    @property
    def held(self) -> float:
        """Tokens that a running request holds at a random step, on average. [tokens]"""
        return self.isl.mean + self.osl.length_biased

    @property
    def longest(self) -> int:
        """Tokens that (nearly) no request passes. [tokens]"""
        return self.isl.at_most() + self.osl.at_most()
