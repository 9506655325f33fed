"""Laws of a latency: mixtures of shifted gamma laws over states, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.units import Array

_HALVINGS = 24
_TINY = 1e-12
_LEAST_SHAPE = 0.05


@dataclass(frozen=True, slots=True)
class Mixture:
    """In state j a latency is ``shift`` plus a gamma law; states weigh ``weight``.

    Attributes:
        shift: Least latency of the state. [s] (row, state)
        mean: Mean of what comes on top. [s] (row, state)
        variance: Its variance. [s^2] (row, state)
        weight: Share of the state; rows sum to 1. [1] (row, state)
    """

    shift: Array
    mean: Array
    variance: Array
    weight: Array

    @property
    def total_mean(self) -> Array:
        """Mean of the mixture. [s] (row,)."""
        result: Array = (self.weight * (self.shift + self.mean)).sum(axis=1)
        return result

    @property
    def total_variance(self) -> Array:
        """Variance of the mixture. [s^2] (row,)."""
        center = self.shift + self.mean
        second = (self.weight * (center**2 + self.variance)).sum(axis=1)
        result: Array = np.maximum(second - self.total_mean**2, 0.0)
        return result

    def share_within(self, limit_s: Array) -> Array:
        """Share of requests at or under a limit. [1] (row,)."""
        above = np.asarray(limit_s)[:, None] - self.shift
        inside = gamma_cdf(above, self.mean, self.variance)
        result: Array = (self.weight * inside).sum(axis=1)
        return result

    def quantile(self, share: float) -> Array:
        """Latency that a share of requests keeps. [s] (row,)."""
        spread = np.sqrt(self.variance)
        low = self.shift.min(axis=1)
        seen = self.weight > _TINY
        high: Array = (
            np.where(seen, self.shift + self.mean + 60.0 * spread, 0.0).max(axis=1) + _TINY
        )
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            enough = self.share_within(middle) >= share
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high


def gamma_cdf(x: Array, mean: Array, variance: Array) -> Array:
    r"""Return a gamma law's share at or below x, by Wilson and Hilferty. [1].

    $$F(x) \approx \Phi\left(3 \sqrt{k} \left[(x / k\theta)^{1/3} - 1 + \frac{1}{9k}\right]\right)$$

    with shape k = mean²/variance; a law without spread is a step at its mean.

    References:
        E. B. Wilson, M. M. Hilferty, "The Distribution of Chi-Square", PNAS 17, 1931.

    Examples:
        >>> round(float(gamma_cdf(np.array(1.0), np.array(1.0), np.array(1.0))), 2)  # 1 - 1/e
        0.63
    """
    safe = np.maximum(mean, _TINY)
    shape = np.clip(safe**2 / np.maximum(variance, _TINY**2), _LEAST_SHAPE, 1e8)
    root = np.cbrt(np.maximum(x, 0.0) / safe)
    z = 3.0 * np.sqrt(shape) * (root - 1.0 + 1.0 / (9.0 * shape))
    return np.where(x >= 0.0, normal_cdf(z), 0.0)


def normal_cdf(z: Array) -> Array:
    r"""Share of a standard normal law below z. [1].

    $$\Phi(z) \approx \tfrac{1}{2}(1 + \tanh(\sqrt{2/\pi}\,(z + 0.044715 z^3)))$$

    within 3e-4.

    References:
        E. Page, "Approximations to the cumulative normal function", Applied Statistics 26, 1977.

    Examples:
        >>> round(float(normal_cdf(np.array(1.6449))), 3)
        0.95
    """
    z = np.clip(z, -8.0, 8.0)
    result: Array = 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)))
    return result


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps between tokens: each kind of step lasts between two times and weighs its tokens.

    Attributes:
        low: Shortest gap of the kind. [s] (row, kind)
        high: Longest. [s] (row, kind)
        weight: Share of all gaps; rows sum to 1. [1] (row, kind)
    """

    low: Array
    high: Array
    weight: Array

    def share_within(self, limit_s: Array) -> Array:
        """Share of gaps at or under a limit. [1] (row,)."""
        width = np.maximum(self.high - self.low, _TINY)
        inside = np.clip((np.asarray(limit_s)[:, None] - self.low) / width, 0.0, 1.0)
        result: Array = (self.weight * inside).sum(axis=1)
        return result

    def quantile(self, share: float) -> Array:
        """Gap that a share of all gaps keeps. [s] (row,)."""
        low: Array = self.low.min(axis=1)
        high: Array = self.high.max(axis=1) + _TINY
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            enough = self.share_within(middle) >= share
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high

    @property
    def mean(self) -> Array:
        """Mean gap. [s] (row,)."""
        result: Array = (self.weight * (self.low + self.high) / 2.0).sum(axis=1)
        return result

    @property
    def variance(self) -> Array:
        """Variance of a gap. [s^2] (row,)."""
        center = (self.low + self.high) / 2.0
        second = (self.weight * (center**2 + (self.high - self.low) ** 2 / 12.0)).sum(axis=1)
        result: Array = np.maximum(second - self.mean**2, 0.0)
        return result
