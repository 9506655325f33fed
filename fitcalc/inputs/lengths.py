"""Lengths of prompts and outputs: a fixed number or a distribution. [tokens]"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from fitcalc.inputs.question import Question

_GRID = 512
"""Points at which a distribution without a closed form is integrated (midpoint rule)."""


class Lengths(Question):
    """A distribution of token counts. Make one with ``fixed``, ``uniform``, ``lognormal``, ...

    Attributes:
        kind: Family of the distribution.
        low: Lower end (uniform) or the value (fixed). [tokens]
        high: Upper end (uniform). [tokens]
        average: Mean (lognormal). [tokens]
        cv: Standard deviation over mean (lognormal). [1]
        values: Lengths of a histogram. [tokens]
        weights: Their weights, any positive scale. [1]
    """

    kind: Literal["fixed", "uniform", "lognormal", "histogram"]
    low: float = 0.0
    high: float = 0.0
    average: float = 0.0
    cv: float = 0.0
    values: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _sensible(self) -> Lengths:
        numbers = (self.low, self.high, self.average, self.cv, *self.values, *self.weights)
        if not all(math.isfinite(x) and x >= 0 for x in numbers):
            raise ValueError("use finite lengths that are not negative")
        if len(self.values) != len(self.weights):
            raise ValueError("give as many weights as values")
        if self.kind == "histogram" and not sum(self.weights) > 0:
            raise ValueError("give a histogram at least one value with a weight above 0")
        if self.kind == "uniform" and self.high < self.low:
            raise ValueError("give uniform lengths with high at or above low")
        if self.mean < 1:
            raise ValueError("use a mean of at least 1 token")
        return self

    @classmethod
    def fixed(cls, tokens: float) -> Lengths:
        """Every request has this many tokens."""
        return cls(kind="fixed", low=tokens, high=tokens)

    @classmethod
    def uniform(cls, low: float, high: float) -> Lengths:
        """Return whole numbers between ``low`` and ``high``, both included."""
        return cls(kind="uniform", low=low, high=high)

    @classmethod
    def lognormal(cls, mean: float, cv: float) -> Lengths:
        """Return a log-normal law with this mean and coefficient of variation."""
        return cls(kind="lognormal", average=mean, cv=cv)

    @classmethod
    def histogram(cls, values: tuple[float, ...], weights: tuple[float, ...]) -> Lengths:
        """Return an empirical law: ``values`` with ``weights``."""
        return cls(kind="histogram", values=tuple(values), weights=tuple(weights))

    @property
    def mean(self) -> float:
        """Mean. [tokens]"""
        match self.kind:
            case "fixed":
                return self.low
            case "uniform":
                return (self.low + self.high) / 2.0
            case "lognormal":
                return self.average
            case "histogram":
                return float(np.average(self.values, weights=self.weights))

    @property
    def second_moment(self) -> float:
        """Mean of the square. [tokens^2]"""
        match self.kind:
            case "fixed":
                return self.low**2
            case "uniform":
                count = self.high - self.low + 1.0
                return self.mean**2 + (count**2 - 1.0) / 12.0
            case "lognormal":
                return self.average**2 * (1.0 + self.cv**2)
            case "histogram":
                return float(np.average(np.square(self.values), weights=self.weights))

    @property
    def length_biased(self) -> float:
        r"""Mean progress of a request seen at a random step, $E[L^2] / 2E[L]$. [tokens]"""
        return self.second_moment / (2.0 * self.mean)

    def quantiles(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lengths at the given shares (0..1) of requests. [tokens]"""
        match self.kind:
            case "fixed":
                return np.full(shares.shape, self.low)
            case "uniform":
                return self.low + shares * (self.high - self.low)
            case "lognormal":
                sigma = math.sqrt(math.log1p(self.cv**2))
                mu = math.log(self.average) - sigma**2 / 2.0
                return np.maximum(np.exp(mu + sigma * _normal_quantile(shares)), 1.0)
            case "histogram":
                order = np.argsort(self.values)
                cumulative = np.cumsum(np.asarray(self.weights)[order])
                index = np.searchsorted(cumulative / cumulative[-1], shares)
                return np.asarray(self.values)[order][np.minimum(index, len(order) - 1)]

    def at_most(self) -> int:
        """Return a length that (nearly) no request passes: the largest, or the 99.9 % point."""
        if self.kind in ("fixed", "uniform"):
            return math.ceil(self.high)
        if self.kind == "histogram":
            return math.ceil(max(self.values))
        return math.ceil(float(self.quantiles(np.array([0.999]))[0]))

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw ``count`` whole lengths of at least one token. [tokens]"""
        if self.kind == "uniform":
            low = max(math.ceil(self.low), 1)
            return rng.integers(low, max(math.floor(self.high), low) + 1, count)
        drawn = self.quantiles(rng.random(count))
        return np.maximum(np.rint(drawn), 1.0).astype(np.int64)


def as_lengths(value: Lengths | float) -> Lengths:
    """Return ``value`` itself, or a fixed length when it is a number."""
    return value if isinstance(value, Lengths) else Lengths.fixed(float(value))


def _normal_quantile(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the standard normal law, by the tabulated error function."""
    grid = np.linspace(-4.5, 4.5, 2 * _GRID + 1)
    cumulative = np.array([0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in grid])
    return np.interp(shares, cumulative, grid)
