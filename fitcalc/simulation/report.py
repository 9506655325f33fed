"""The answer of a simulation: what ``vllm bench serve`` prints, and the state behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Bottleneck, Calibrated, Interval, Percentiles, Prediction, Row
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.simulation.over_time import Course, course
from fitcalc.simulation.quantiles import percentiles
from fitcalc.simulation.records import Records
from fitcalc.simulation.servers import Label, ServerSeen, servers_seen
from fitcalc.simulation.stability import is_stable
from fitcalc.units import MILLI


class ClassFelt(Row):
    """What the users of one class felt: its requests alone, fields as in ``Simulation``."""

    name: str
    num_requests: int
    ttft_ms: Percentiles
    tpot_ms: Percentiles
    e2e_ms: Percentiles
    queue_ms: Percentiles
    slo_met: float | None = None


class DecodeAt(Row):
    """Decode-only steps whose mean context was from ``context_tokens`` to below twice that.

    ``output_tokens_per_s`` is the rate of one engine while it made such steps.
    """

    context_tokens: int
    output_tokens: int
    output_tokens_per_s: float


class Simulation(Row):
    """What the users of all replicas felt. Latencies in ms, over all requests.

    ``queue_ms`` reaching the scheduler to the first step; ``steady_batch`` and ``kv_cache_usage``
    time means of one replica; ``utilization`` share of the time in steps; ``cached_share`` prompt
    tokens from the prefix cache; ``slo_met`` share of the requests within the SLO,
    ``goodput_requests_per_s`` their rate; ``refused`` requests too long for the server;
    ``unfinished`` requests whose end was not awaited; ``skipped`` rows of the file passed over;
    ``classes`` each class of a mix by itself; ``notes`` what the answer leaves out; ``servers``
    each engine by itself; ``over_time`` means over bins of time; the other fields as in
    ``Prediction``, rates of all replicas.

    Where prefill and decode are apart, ``servers`` and the state are those of the decode pool,
    ``prefill_servers`` the others; ``handover_ms`` is from the end of prefill until the KV cache
    has crossed ``kv_link``, and ``queue_ms`` the prefill pool's.
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
    goodput_requests_per_s: float | None = None
    slo_met: float | None = None
    refused: int = 0
    skipped: int = 0
    classes: tuple[ClassFelt, ...] = ()
    unfinished: int = 0
    notes: tuple[str, ...] = ()
    servers: tuple[ServerSeen, ...] = ()
    prefill_servers: tuple[ServerSeen, ...] = ()
    handover_ms: Percentiles | None = None
    kv_link: str | None = None
    decode_by_context: tuple[DecodeAt, ...] = ()
    over_time: Course | None = None

    def prediction(
        self,
        *,
        kv_cache_tokens: float,
        max_concurrency: float,
        bottleneck: Bottleneck,
        shares: dict[Bottleneck, float],
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
            shares=shares,
            calibrated=calibrated,
            method="simulation",
            interval=interval,
            prefix_hit=self.cached_share,
        )


def simulation(
    seen: Records,
    *,
    seed: int = 0,
    slo: Slo | None = None,
    promises: Sequence[Slo] = (),
    trace: Trace | None = None,
    labels: Sequence[Label] | None = None,
) -> Simulation:
    """Summarise records as ``vllm bench serve`` does: means and percentiles over all requests.

    Args:
        seen: What the simulation saw.
        seed: The seed that drew the requests, for the answer to name.
        slo: What counts as good; ``None`` = not asked.
        promises: What counts as good for each class of a mix; empty = ``slo``.
        trace: The requests, which may be of several classes.
        labels: The engines, to tell each by itself and all over time; ``None`` = not asked.
    """
    duration = seen.duration_s
    good = _good(seen, trace, slo, promises)
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
        goodput_requests_per_s=None if good is None else int(good.sum()) / duration,
        slo_met=None if good is None else float(good.mean()),
        refused=seen.refused,
        skipped=trace.skipped if trace else 0,
        classes=_by_class(seen, trace, good) if trace else (),
        unfinished=len(trace) - len(seen.isl) if trace else 0,
        servers=() if labels is None else servers_seen(seen, labels),
        decode_by_context=() if labels is None else _by_context(seen),
        over_time=None if labels is None else course(seen),
    )


def _by_context(seen: Records) -> tuple[DecodeAt, ...]:
    tokens = np.sum([one.decoded for one in seen.servers], axis=0)
    times_s = np.sum([one.decoded_s for one in seen.servers], axis=0)
    return tuple(
        DecodeAt(context_tokens=1 << at, output_tokens=int(made), output_tokens_per_s=made / spent)
        for at, (made, spent) in enumerate(zip(tokens, times_s, strict=True))
        if made > 0
    )


def _good(
    seen: Records, trace: Trace | None, slo: Slo | None, promises: Sequence[Slo]
) -> NDArray[np.bool_] | None:
    """Which requests kept the promise of their class; ``None`` = nothing was promised."""
    if trace is None or trace.kind is None or not promises:
        promise = promises[0] if promises else slo
        return None if promise is None else good_requests(seen, promise)
    kinds = _kinds(seen, trace.kind)
    kept = np.zeros(len(seen.isl), dtype=np.bool_)
    for number, promise in enumerate(promises):
        own = np.flatnonzero(kinds == number)
        if len(own):
            kept[own] = good_requests(seen.part(own), promise)
    return kept


def _kinds(seen: Records, kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of each request that was seen."""
    return kind if seen.served is None else kind[seen.served]


def _by_class(seen: Records, trace: Trace, good: NDArray[np.bool_] | None) -> tuple[ClassFelt, ...]:
    """Summarise each class of a mix that has a request; gaps are not known by class."""
    if trace.kind is None:
        return ()
    kinds = _kinds(seen, trace.kind)
    found: list[ClassFelt] = []
    for number, name in enumerate(trace.kind_names):
        own = np.flatnonzero(kinds == number)
        part = seen.part(own)
        if not len(part.isl):
            continue
        one = ClassFelt(
            name=name,
            num_requests=len(part.isl),
            ttft_ms=percentiles(part.ttft_s),
            tpot_ms=percentiles(part.tpot_s),
            e2e_ms=percentiles(part.e2e_s),
            queue_ms=percentiles(part.queue_s),
            slo_met=None if good is None else float(good[own].mean()),
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
