"""A rate that rises from the first request to the last, as ``vllm bench serve`` ramps it up."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from pydantic import Field, model_validator

from fitcalc.inputs.question import Question
from fitcalc.units import Array


class RampUpStrategy(StrEnum):
    """How the rate rises over the requests (vllm/benchmarks/serve.py, ``--ramp-up-strategy``)."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RampUp(Question):
    """Rates from the first request to the last.

    Attributes:
        strategy: ``linear`` adds as much from request to request, ``exponential`` multiplies.
        start_rps: Rate of the first request. [1/s]
        end_rps: Rate of the last one. [1/s]
    """

    strategy: RampUpStrategy
    start_rps: float = Field(gt=0, le=1e6, allow_inf_nan=False)
    end_rps: float = Field(gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _rises(self) -> RampUp:
        if self.end_rps < self.start_rps:
            raise ValueError("give an end_rps at or above start_rps")
        return self

    def rates(self, count: int) -> Array:
        """Rate of each of ``count`` requests. [1/s]

        Examples:
            >>> RampUp(strategy="linear", start_rps=1, end_rps=3).rates(3).tolist()
            [1.0, 2.0, 3.0]
        """
        progress = np.arange(count) / max(count - 1, 1)
        if self.strategy is RampUpStrategy.LINEAR:
            return self.start_rps + (self.end_rps - self.start_rps) * progress
        rates: Array = self.start_rps * (self.end_rps / self.start_rps) ** progress
        return rates

    def arrivals_s(self, rng: np.random.Generator, count: int, burstiness: float = 1.0) -> Array:
        """Draw ``count`` arrivals, each gap by the rate of its request. [s]"""
        gaps = rng.gamma(burstiness, 1.0 / burstiness, count) / self.rates(count)
        times: Array = np.cumsum(gaps)
        return times
