"""The answer of a simulation: what ``vllm bench serve`` prints, and the state behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Bottleneck, Calibrated, Interval, Percentiles, Prediction, Row
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.simulation.records import Records
from fitcalc.units import MILLI, Array


class ClassFelt(Row):
    """What the users of one class felt: its requests alone, fields as in ``Simulation``."""

    name: str
    num_requests: int
    ttft_ms: Percentiles
    tpot_ms: Percentiles
    e2e_ms: Percentiles
    queue_ms: Percentiles
    slo_met: float | None = None


class Simulation(Row):
    """What the users of all replicas felt. Latencies in ms, over all requests.

    ``queue_ms`` reaching the scheduler to the first step; ``steady_batch`` and ``kv_cache_usage``
    time means of one replica; ``utilization`` share of the time in steps; ``cached_share`` prompt
    tokens from the prefix cache; ``slo_met`` share of the requests within the SLO,
    ``goodput_requests_per_s`` their rate; ``refused`` requests too long for the server;
    ``skipped`` rows of the file passed over; ``classes`` each class of a mix by itself; ``notes``
    what the answer leaves out; the other fields as in ``Prediction``, rates of all replicas.
    """

    stable: bool
    ttft_ms: Percentiles
    itl_ms: Percentiles
    tpot_ms: Percentiles
    e2e_ms: Percentiles
    queue_ms: Percentiles
    requests_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    steady_batch: float
    utilization: float
    kv_cache_usage: float
    kv_cache_usage_peak: float
    cached_share: float
    preemptions: int
    num_requests: int
    duration_s: float
    replicas: int
    seed: int
    utilization_by_replica: tuple[float, ...] = ()
    goodput_requests_per_s: float | None = None
    slo_met: float | None = None
    refused: int = 0
    skipped: int = 0
    classes: tuple[ClassFelt, ...] = ()
    notes: tuple[str, ...] = ()

    def prediction(
        self,
        *,
        kv_cache_tokens: float,
        max_concurrency: float,
        bottleneck: Bottleneck,
        calibrated: Calibrated,
        interval: Interval,
    ) -> Prediction:
        """Say the same as a ``Prediction`` of one replica."""
        return Prediction(
            stable=self.stable,
            ttft_ms=self.ttft_ms,
            itl_ms=self.itl_ms,
            tpot_ms=self.tpot_ms,
            e2e_ms=self.e2e_ms,
            requests_per_s=self.requests_per_s / self.replicas,
            output_tokens_per_s=self.output_tokens_per_s / self.replicas,
            total_tokens_per_s=self.total_tokens_per_s / self.replicas,
            steady_batch=self.steady_batch,
            utilization=self.utilization,
            kv_cache_tokens=kv_cache_tokens,
            max_concurrency=max_concurrency,
            kv_cache_usage=self.kv_cache_usage,
            bottleneck=bottleneck,
            calibrated=calibrated,
            method="simulation",
            interval=interval,
        )


def simulation(
    seen: Records, *, seed: int = 0, slo: Slo | None = None, trace: Trace | None = None
) -> Simulation:
    """Summarise records as ``vllm bench serve`` does: means and percentiles over all requests.

    Args:
        seen: What the simulation saw.
        seed: The seed that drew the requests, for the answer to name.
        slo: What counts as good; ``None`` = not asked.
        trace: The requests, which may be of several classes.
    """
    duration = seen.duration_s
    good = None if slo is None else good_requests(seen, slo)
    engine_s = duration * seen.replicas
    return Simulation(
        stable=is_stable(seen),
        ttft_ms=percentiles(seen.ttft_s),
        itl_ms=percentiles(seen.gap_s, seen.gap_count),
        tpot_ms=percentiles(seen.tpot_s),
        e2e_ms=percentiles(seen.e2e_s),
        queue_ms=percentiles(seen.queue_s),
        requests_per_s=len(seen.isl) / duration,
        output_tokens_per_s=float(seen.osl.sum()) / duration,
        total_tokens_per_s=float(seen.isl.sum() + seen.osl.sum()) / duration,
        steady_batch=seen.running_s / engine_s,
        utilization=seen.busy_s / engine_s,
        kv_cache_usage=seen.kv_usage_s / engine_s,
        kv_cache_usage_peak=seen.kv_usage_peak,
        cached_share=float(seen.cached_tokens.sum() / seen.isl.sum()),
        preemptions=int(seen.preemptions.sum()),
        num_requests=len(seen.isl),
        duration_s=duration,
        replicas=seen.replicas,
        seed=seed,
        utilization_by_replica=tuple(one.busy_s / duration for one in seen.servers),
        goodput_requests_per_s=None if good is None else int(good.sum()) / duration,
        slo_met=None if good is None else float(good.mean()),
        refused=seen.refused,
        skipped=trace.skipped if trace else 0,
        classes=_by_class(seen, trace, slo) if trace else (),
    )


def _by_class(seen: Records, trace: Trace, slo: Slo | None) -> tuple[ClassFelt, ...]:
    """Summarise each class of a mix that has a request; gaps are not known by class."""
    if trace.kind is None:
        return ()
    found: list[ClassFelt] = []
    for number, name in enumerate(trace.kind_names):
        part = seen.part(np.flatnonzero(trace.kind == number))
        if not len(part.isl):
            continue
        one = ClassFelt(
            name=name,
            num_requests=len(part.isl),
            ttft_ms=percentiles(part.ttft_s),
            tpot_ms=percentiles(part.tpot_s),
            e2e_ms=percentiles(part.e2e_s),
            queue_ms=percentiles(part.queue_s),
            slo_met=None if slo is None else float(good_requests(part, slo).mean()),
        )
        found.append(one)
    return tuple(found)


def good_requests(seen: Records, slo: Slo) -> NDArray[np.bool_]:
    """Which requests kept every bound, each request by its own figures.

    The bound on gaps is held against the request's mean gap, as ``vllm bench serve --goodput``
    does with tpot.
    """
    gaps = np.zeros(len(seen.isl))
    several = seen.osl > 1
    gaps[several] = seen.tpot_s
    kept = np.ones(len(seen.isl), dtype=np.bool_)
    felt = ((slo.ttft_ms, seen.ttft_s), (slo.itl_ms, gaps), (slo.e2e_ms, seen.e2e_s))
    for bound_ms, times_s in felt:
        if bound_ms is not None:
            kept &= times_s <= bound_ms * MILLI
    return kept


def p99_spread(times_s: Array) -> float:
    """Half the 95 % interval of a p99 over the p99, from the p99s of twenty parts in a row. [1]

    Examples:
        >>> p99_spread(np.ones(4000))
        0.0
    """
    parts = np.array_split(times_s, _PARTS)
    if len(parts[-1]) < _PARTS:
        return math.inf
    found = np.array([np.percentile(part, 99) for part in parts])
    return float(_NORMAL_95 * found.std(ddof=1) / math.sqrt(_PARTS) / found.mean())


def percentiles(values_s: Array, counts: Array | None = None) -> Percentiles:
    """Mean and percentiles of times, each felt ``counts`` times. [s] -> [ms]

    Between two felt times the percentile is a straight line, as numpy.percentile has it on the
    values written out. Zeros where there is no value.

    Examples:
        >>> percentiles(np.array([0.001, 0.003]), np.array([3.0, 1.0])).mean
        1.5
    """
    if counts is None:
        if not len(values_s):
            return Percentiles(mean=0.0, p50=0.0, p90=0.0, p95=0.0, p99=0.0)
        found = np.percentile(values_s, (50, 90, 95, 99)) / MILLI
        p50, p90, p95, p99 = map(float, found)
        mean = float(values_s.mean()) / MILLI
        return Percentiles(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)
    if not counts.any():
        return Percentiles(mean=0.0, p50=0.0, p90=0.0, p95=0.0, p99=0.0)
    p50, p90, p95, p99 = map(float, quantiles(values_s, (0.50, 0.90, 0.95, 0.99), counts) / MILLI)
    mean = float(np.average(values_s, weights=counts)) / MILLI
    return Percentiles(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)


def quantiles(values: Array, shares: Sequence[float], counts: Array | None = None) -> Array:
    """Values that shares of all keep, each felt ``counts`` times; zeros where there is none.

    Examples:
        >>> quantiles(np.array([3.0, 1.0]), (0.5, 1.0), np.array([1.0, 3.0])).tolist()
        [1.0, 3.0]
    """
    if counts is None:
        return np.quantile(values, shares) if len(values) else np.zeros(len(shares))
    felt = counts > 0
    values, counts = values[felt], counts[felt]
    if not len(values):
        return np.zeros(len(shares))
    order = np.argsort(values, kind="stable")
    values, cumulative = values[order], np.cumsum(counts[order])
    rank = np.asarray(shares) * (float(cumulative[-1]) - 1.0)
    low = np.searchsorted(cumulative, np.floor(rank), side="right")
    high = np.searchsorted(cumulative, np.ceil(rank), side="right")
    result: Array = values[low] + (values[high] - values[low]) * (rank - np.floor(rank))
    return result


_PARTS, _NORMAL_95 = 20, 1.96
_GROWTH = 0.02
"""Share of the later half's arrivals that may stay behind in a stable run. [1]"""
_DEVIATIONS = 3.0
"""Standard deviations by which the number in the system may drift besides."""

_FILLING = 6.0
"""Mean E2E times in which a batch fills. [1]"""


def is_stable(seen: Records) -> bool:
    """Whether the service kept up with an open loop's requests; a closed loop always does.

    The number in the system (sent, not ended) is taken in the middle and at the end of the
    arrivals. It must not grow by more than 2 % of the requests sent in between plus three standard
    deviations of a Poisson count. Where a half is shorter than six mean E2E of the requests sent
    in the first, batches are still filling: then no more than that may wait for their first step.
    """
    if not seen.open_loop:
        return True
    first, last = float(seen.arrival_s.min()), float(seen.arrival_s.max())
    if first == last:  # all at once: there is no rate to keep up with
        return True
    middle = (first + last) / 2.0
    early = seen.arrival_s <= middle

    def inside(time_s: float, left_s: Array) -> int:
        return int(((seen.arrival_s <= time_s) & (left_s > time_s)).sum())

    before = inside(middle, seen.finish_s)
    allowed = _GROWTH * int((~early).sum()) + _DEVIATIONS * math.sqrt(before + 1.0)
    if middle - first < _FILLING * float(seen.e2e_s[early].mean()):
        reached = seen.arrival_s + seen.frontend_s
        waiting = (seen.arrival_s <= last) & (seen.scheduled_s - reached > 0)
        return int((waiting & (seen.scheduled_s > last)).sum()) <= allowed
    return inside(last, seen.finish_s) - before <= allowed
