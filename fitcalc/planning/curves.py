"""One server's curves: its steps over the batch, its latency over the rate, its roofline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fitcalc.answers import MemoryLedger, Percentiles
from fitcalc.errors import InvalidValue
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.work import ceiling_flops, step_work
from fitcalc.planning.server import fitting, interval_of, prefixes_of, share_of_rank, step_of
from fitcalc.planning.setup import Setup
from fitcalc.queueing.goodput import goodput
from fitcalc.queueing.predict import felt_at
from fitcalc.queueing.profile import NODES, Profile, profile
from fitcalc.queueing.steady import largest_stable_rate
from fitcalc.units import MILLI, Array

POINTS = 40
"""Batch sizes or rates of a curve. [1]"""
LEAST_SHARE, MOST_SHARE = 0.02, 0.98
"""Ends of the rates, as shares of the largest stable one. [1]"""
PROMPTS = "prompts"
"""The part of a gap in which the engine computes other requests' prompts."""


@dataclass(frozen=True, slots=True)
class StepCurve:
    """An engine's steps at each batch size.

    Attributes:
        batch: Sequences that decode. [1]
        alone_ms: Gap between tokens while nobody's prompt is computed. [ms]
        mean_ms: Mean gap, with the prompts that keep the batch. [ms]
        chunk_ms: Gap in which a prompt, or a full chunk of it, is computed as well. [ms]
        interval_ms: Ends of the 80 % interval of the mean gap. [ms]
        parts_ms: What the mean gap is made of: the kernels of a decode step, as
            ``StepModel.breakdown`` names them, and ``prompts``. [ms]
    """

    batch: Array
    alone_ms: Array
    mean_ms: Array
    chunk_ms: Array
    interval_ms: tuple[Array, Array]
    parts_ms: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class RatePoint:
    """What users feel at one rate, in closed form.

    Attributes:
        qps: Requests a second. [1/s]
        ttft: Arrival to first token. [ms]
        itl: Gaps between tokens. [ms]
        interval_ms: 80 % interval of the mean TTFT. [ms]
        batch: Mean decoding sequences. [1]
    """

    qps: float
    ttft: Percentiles
    itl: Percentiles
    interval_ms: tuple[float, float]
    batch: float


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Latency over the rate, the rate up to which a promise holds, and the largest stable rate.

    ``goodput`` is 0 where the promise fails even on an idle server. [1/s]
    """

    points: tuple[RatePoint, ...]
    goodput: float
    capacity: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """Steps of one GPU under its ceilings.

    Attributes:
        peak_flops: Dense peak of the format that its products are in. [FLOP/s]
        bandwidth: Of its memory. [B/s]
        names: What each step is.
        intensity: Work for each byte. [FLOP/B]
        flops: Reached. [FLOP/s]
    """

    peak_flops: float
    bandwidth: float
    names: tuple[str, ...]
    intensity: Array
    flops: Array


def step_curve(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> StepCurve:
    """Return the steps of one data-parallel rank, from one sequence to as many as it holds.

    Raises:
        InvalidValue: answers of one token, which have no gaps.
    """
    if traffic.osl.mean <= 1.0:
        raise InvalidValue("osl", traffic.osl.mean, "give 2 or more; one token has no gaps")
    share = share_of_rank(setup, traffic)
    server = _rows(setup, ledger, share, 1, nodes=_batches(most_sequences(setup, ledger, share)))
    alone, mean, chunk = (
        row[0] / MILLI for row in (server.decode_s, server.step_s, server.chunk_s)
    )
    return StepCurve(
        batch=server.nodes[0],
        alone_ms=alone,
        mean_ms=mean,
        chunk_ms=chunk,
        interval_ms=_gap_interval(setup, mean),
        parts_ms={name: row / MILLI for name, row in _parts(setup, server, share).items()},
    )


def rate_curve(setup: Setup, ledger: MemoryLedger, traffic: Traffic, slo: Slo) -> RateCurve:
    """Return what users of one server feel at every rate that it can carry, in one call.

    Args:
        setup: The configuration.
        ledger: Its memory.
        traffic: Lengths of an open loop; its rate is not used.
        slo: The promise.

    Raises:
        InvalidValue: the traffic is a closed loop.
    """
    if traffic.qps is None:
        raise InvalidValue("concurrency", traffic.concurrency, "give qps; rates are of open loops")
    share, ranks = share_of_rank(setup, traffic), setup.engine.data_parallel_size
    server = _rows(setup, ledger, share, POINTS)
    capacity = float(largest_stable_rate(server)[0])
    rates = capacity * np.linspace(LEAST_SHARE, MOST_SHARE, POINTS)
    good = float(goodput(_rows(setup, ledger, share, 1), slo, share.burstiness)[0])
    points = tuple(
        RatePoint(
            qps=float(rate) * ranks,
            ttft=found.ttft,
            itl=found.itl,
            interval_ms=interval_of(setup, found.ttft, found.tpot).ttft_ms,
            batch=found.steady_batch * ranks,
        )
        for rate, found in zip(rates, felt_at(server, rates, share, closed=False), strict=True)
    )
    return RateCurve(points, good * ranks, capacity * ranks)


def roofline(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> Roofline:
    """Return a prompt's step and decode steps of growing batches under one GPU's ceilings."""
    share, step = share_of_rank(setup, traffic), step_of(setup)
    most = most_sequences(setup, ledger, share)
    decodes = np.unique(np.append(2.0 ** np.arange(0, np.log2(max(most, 1.0)) + 1e-9), most))
    hit = share.hit_share if setup.engine.enable_prefix_caching else 0.0
    prompt = share.isl.mean * (1.0 - hit)
    tokens = min(float(setup.engine.max_num_batched_tokens), prompt)
    pairs = tokens * (share.isl.mean * hit + prompt / 2.0)
    none = np.zeros_like(decodes)
    columns = (
        np.append(decodes, 0.0),
        np.append(decodes * share.held, 0.0),
        np.append(none, tokens),
        np.append(none, pairs),
        np.append(none, min(tokens / prompt, 1.0)),
    )
    work = step_work(step, *columns)
    return Roofline(
        peak_flops=ceiling_flops(step),
        bandwidth=setup.gpu.memory_bandwidth,
        names=(*(f"decode, batch {x:,.0f}" for x in decodes), f"prefill, {tokens:,.0f} tokens"),
        intensity=work.intensity,
        flops=work.flops / step.step_s(*columns),
    )


def most_sequences(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> float:
    """Sequences that slots and KV cache of one rank hold, at least 1. [1]"""
    return max(1.0, min(float(setup.engine.seats), fitting(setup, ledger, traffic)))


def _rows(
    setup: Setup, ledger: MemoryLedger, share: Traffic, rows: int, nodes: Array = NODES
) -> Profile:
    """Return one rank's profile, as so many equal rows."""
    return profile(
        step_of(setup),
        share,
        np.full(rows, most_sequences(setup, ledger, share)),
        np.full(rows, float(setup.engine.max_num_batched_tokens)),
        prefix_caching=setup.engine.enable_prefix_caching,
        prefixes=prefixes_of(setup, ledger, share, rows),
        nodes=nodes,
    )


def _batches(most: float) -> Array:
    """Whole batch sizes from 1 up to the most, evenly spaced by ratio. [1]"""
    return np.unique(np.round(np.geomspace(1.0, np.floor(most), POINTS)))


def _parts(setup: Setup, server: Profile, share: Traffic) -> dict[str, Array]:
    """What the mean gap is made of: a decode step's kernels, and the prompts of others. [s]"""
    batch = server.nodes[0]
    kernels = step_of(setup).breakdown(batch, batch * share.held)
    parts = {name: seconds for name, seconds in kernels.items() if np.any(seconds > 0)}
    return {**parts, PROMPTS: server.step_s[0] - server.decode_s[0]}


def _gap_interval(setup: Setup, mean_ms: Array) -> tuple[Array, Array]:
    ends = [interval_of(setup, same, same).tpot_ms for same in map(_all_alike, mean_ms)]
    low, high = np.array(ends).T
    return low, high


def _all_alike(ms: float) -> Percentiles:
    return Percentiles(mean=ms, p50=ms, p90=ms, p95=ms, p99=ms)
