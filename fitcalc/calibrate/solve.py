"""Least squares: positive coefficients from measured times, with their standard errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.units import Array

ROBUST_SCALE = 0.1
"""Relative error beyond which a measurement counts less. [1]"""
AT_BOUND = 1e-3


@dataclass(frozen=True, slots=True)
class Start:
    """Where a coefficient starts and between which values it may end."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of a law, and how well they reproduce the measurements.

    Attributes:
        values: Coefficient by name.
        standard_errors: Of each; infinite where the fit ended at a bound.
        n: Measurements.
        residual: Percentiles 10, 50 and 90 of measured over predicted time. [1]
        error: Median of abs(predicted / measured - 1). [1]
        error_p90: Its 90th percentile. [1]
    """

    values: Mapping[str, float]
    standard_errors: Mapping[str, float]
    n: int
    residual: tuple[float, float, float]
    error: float
    error_p90: float


def fit_law(
    predict: Callable[[Mapping[str, float]], Array],
    measured_s: Array,
    starts: Mapping[str, Start],
) -> Fit:
    r"""Fit positive coefficients to the logarithm of measured times.

    Minimises $\sum \rho(\ln \hat t_i - \ln t_i)$ over the logarithms of the coefficients, with the
    soft-L1 loss $\rho$; standard errors from the Jacobian at the optimum.

    Args:
        predict: Times of all measurements for given coefficients. [s]
        measured_s: Measured times. [s]
        starts: Start and bounds of each coefficient.

    Raises:
        InvalidValue: fewer measurements than coefficients, or a time that is not positive.
    """
    from scipy.optimize import least_squares  # noqa: PLC0415 - slow to import, used only here

    if len(measured_s) <= len(starts):
        fix = f"give more than {len(starts)} rows for {len(starts)} coefficients"
        raise InvalidValue("measurements", len(measured_s), fix)
    if not (np.isfinite(measured_s).all() and (measured_s > 0).all()):
        raise InvalidValue("latency", float(np.min(measured_s)), "give times above 0")
    names, log_measured = tuple(starts), np.log(measured_s)

    def residuals(logs: Array) -> Array:
        values = dict(zip(names, np.exp(logs).tolist(), strict=True))
        out: Array = np.log(predict(values)) - log_measured
        return out

    low, high = (np.log([getattr(starts[n], end) for n in names]) for end in ("low", "high"))
    first = np.log([starts[name].value for name in names])
    solved = least_squares(
        residuals, first, bounds=(low, high), loss="soft_l1", f_scale=ROBUST_SCALE, x_scale="jac"
    )
    logs, left = np.asarray(solved.x), residuals(np.asarray(solved.x))
    free = (logs - low > AT_BOUND) & (high - logs > AT_BOUND)
    spread = standard_error(np.asarray(solved.jac)[:, free], left)
    errors = np.full(len(names), np.inf)
    errors[free] = spread * np.exp(logs[free])
    return described(
        dict(zip(names, np.exp(logs).tolist(), strict=True)),
        dict(zip(names, errors.tolist(), strict=True)),
        left,
    )


def described(
    values: Mapping[str, float], standard_errors: Mapping[str, float], left: Array
) -> Fit:
    """Return coefficients with what they leave: the logarithms of predicted over measured."""
    off = np.abs(np.expm1(left))
    p10, p50, p90 = np.quantile(np.exp(-left), (0.1, 0.5, 0.9)).tolist()
    return Fit(
        values=values,
        standard_errors=standard_errors,
        n=len(left),
        residual=(p10, p50, p90),
        error=float(np.median(off)),
        error_p90=float(np.quantile(off, 0.9)),
    )


def standard_error(jacobian: Array, residuals: Array) -> Array:
    r"""Return the standard errors of the parameters, $\sqrt{s^2 (J^T J)^{-1}_{ii}}$.

    Examples:
        >>> standard_error(np.ones((5, 1)), np.array([1.0, -1.0, 1.0, -1.0, 0.0])).round(3).tolist()
        [0.447]
    """
    count, parameters = jacobian.shape
    variance = float(residuals @ residuals) / max(count - parameters, 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))  # rounding may leave less than none


def robust_standard_error(jacobian: Array, residuals: Array, scale: float) -> Array:
    r"""Return the standard errors of parameters that minimise a soft-L1 loss.

    $$\sqrt{(H^{-1} S H^{-1})_{ii}}, \qquad S = \sum_i \psi_i^2 J_i J_i^T$$

    Args:
        jacobian: As scipy's ``least_squares`` leaves it, each row scaled so that $H = J^T J$.
        residuals: Before the loss.
        scale: Of the loss.

    References:
        P. J. Huber, "The behavior of maximum likelihood estimates under nonstandard conditions",
        5th Berkeley Symposium, 1967.

    Examples:
        >>> near = np.array([1.0, -1.0, 1.0, -1.0, 0.0])
        >>> robust_standard_error(np.ones((5, 1)), near, 1e6).round(3).tolist()
        [0.4]
    """
    beyond = 1.0 + (residuals / scale) ** 2
    scores = jacobian * (residuals * beyond**0.25)[:, None]
    bread = np.linalg.pinv(jacobian.T @ jacobian)
    spread = np.diag(bread @ (scores.T @ scores) @ bread)
    return np.asarray(np.sqrt(np.maximum(spread, 0.0)))
