"""What binds a server: where its time goes, and what the next request would wait for."""

from __future__ import annotations

import numpy as np

from fitcalc.answers import Bottleneck
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.step import StepModel
from fitcalc.queueing.predict import Felt

_WAITING_SHARE = 0.01
"""From this share of requests on that wait for a place, the place is what binds. [1]"""
_FULL = 0.95
"""From this share of the largest stable rate on, the queue is what users feel. [1]"""


def bottleneck(step: StepModel, found: Felt, traffic: Traffic, *, slots_bind: bool) -> Bottleneck:
    """Name what binds a server at its load.

    Args:
        step: Step times.
        found: What its users feel.
        traffic: What reaches it.
        slots_bind: Whether max_num_seqs, not the KV cache, is what bounds the batch.
    """
    if found.waiting > _WAITING_SHARE:
        return Bottleneck.QUEUE if slots_bind else Bottleneck.KV_CAPACITY
    if found.utilization > _FULL:
        return Bottleneck.QUEUE
    shares = time_shares(step, found.steady_batch, traffic)
    return max(shares, key=lambda name: shares[name])


def time_shares(step: StepModel, batch: float, traffic: Traffic) -> dict[Bottleneck, float]:
    """Share of the engine's busy time by what it waits for; the shares sum to 1. [1]

    GEMMs count as compute where their FLOPs take longer than their bytes, else as weight bandwidth;
    prefill attention is compute, decode attention KV bandwidth.
    """
    batch = max(batch, 1.0)
    steps = max(traffic.osl.mean - 1.0, 1.0)
    context = batch * traffic.held
    tokens = traffic.isl.mean * (1.0 - traffic.hit_share) * batch / steps
    work = tokens * traffic.isl.mean / 2.0
    decode = step.breakdown(batch, context)
    prompts = batch / steps
    mixed = step.breakdown(batch, context, tokens, work, prompts)
    compute = _compute_share(step, batch + tokens)
    plain = _compute_share(step, batch)
    matrix = ("gemm", "lm_head", "experts")
    total = {key: float(np.sum(value)) for key, value in mixed.items()}
    alone = {key: float(np.sum(value)) for key, value in decode.items()}
    gemm = sum(total.get(key, 0.0) for key in matrix)
    base = sum(alone.get(key, 0.0) for key in matrix)
    added = max(gemm - base, 0.0)
    shares = {
        Bottleneck.COMPUTE: plain * base
        + max(compute, plain) * added
        + total.get("attention_prefill", 0.0),
        Bottleneck.WEIGHT_BANDWIDTH: (1.0 - plain) * base + (1.0 - max(compute, plain)) * added,
        Bottleneck.KV_BANDWIDTH: total.get("attention_decode", 0.0),
        Bottleneck.LINK: total["link"],
        Bottleneck.HOST: total["glue"],
    }
    device = sum(shares.values())
    shares[Bottleneck.HOST] = max(shares[Bottleneck.HOST], total["host"] - device)
    whole = sum(shares.values())
    return {name: share / whole for name, share in shares.items()}


def _compute_share(step: StepModel, tokens: float) -> float:
    """Share of the GEMMs' time in those whose FLOPs take longer than their weights' bytes. [1]"""
    gemm = step.gemms
    size = gemm.n * gemm.k
    flops = 2.0 * tokens * size / (gemm.law.eta_flops * gemm.law.peak_flops)
    moved = gemm.weight_bytes * size / (gemm.law.eta_bandwidth * gemm.law.bandwidth)
    time = gemm.count * np.maximum(flops, moved)
    return float(np.sum(time * (flops > moved)) / np.sum(time))
