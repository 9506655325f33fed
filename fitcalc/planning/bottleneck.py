"""What binds a server: where its time goes, and what the next request would wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fitcalc.answers import Bottleneck
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.step import StepModel
from fitcalc.queueing.predict import Felt
from fitcalc.units import Array

_MATRIX = ("gemm", "lm_head", "experts")
_WAITING_SHARE = 0.01
"""From this share of requests on that wait for a place, the place is what binds. [1]"""
_FULL = 0.95
"""From this share of the largest stable rate on, the queue is what users feel. [1]"""


def bottleneck(shares: Mapping[Bottleneck, float], found: Felt, *, slots_bind: bool) -> Bottleneck:
    """Name what binds a server at its load.

    Args:
        shares: Share of its busy time by what it waits for.
        found: What its users feel.
        slots_bind: Whether max_num_seqs, not the KV cache, is what bounds the batch.
    """
    if found.waiting > _WAITING_SHARE:
        return Bottleneck.QUEUE if slots_bind else Bottleneck.KV_CAPACITY
    if found.utilization > _FULL:
        return Bottleneck.QUEUE
    return max(shares, key=lambda name: shares[name])


def request_shares(
    busy: Mapping[Bottleneck, float], found: Felt, *, slots_bind: bool
) -> dict[Bottleneck, float]:
    """Share of a request's whole time by what it waits for; the shares sum to 1. [1]

    Waiting for a slot or for other prompts is the queue's, waiting for KV blocks the KV cache's;
    the rest goes as the engine's busy time does.

    Args:
        busy: Share of the engine's busy time by what it waits for.
        found: What users feel.
        slots_bind: Whether max_num_seqs, not the KV cache, is what bounds the batch.
    """
    first = found.ttft.mean / max(found.e2e.mean, found.ttft.mean)
    place = min(found.place_share, found.queue_share) * first
    room = 0.0 if slots_bind else place
    return waiting_shares(busy, queue=found.queue_share * first - room, room=room)


def waiting_shares(
    busy: Mapping[Bottleneck, float], *, queue: float, room: float = 0.0
) -> dict[Bottleneck, float]:
    """Put the queue and the wait for KV cache beside what the engine is busy with. [1]"""
    rest = 1.0 - queue - room
    shares = {name: share * rest for name, share in busy.items()}
    return {**shares, Bottleneck.KV_CAPACITY: room, Bottleneck.QUEUE: queue}


def time_shares(
    step: StepModel, batch: Sequence[float], traffic: Traffic, hits: Sequence[float]
) -> list[dict[Bottleneck, float]]:
    """Share of the engines' busy time by what they wait for; the shares sum to 1. [1]

    GEMMs count as compute where their FLOPs take longer than their bytes, else as weight bandwidth;
    prefill attention is compute, decode attention KV bandwidth.

    Args:
        step: Step times of one server, or of a stack with a row for each batch.
        batch: Decoding sequences. [1]
        traffic: Lengths; each step carries the prompts that keep the batch.
        hits: Share of the prompt tokens that the prefix cache serves, for each batch. [1]
    """
    decodes = np.maximum(np.array(batch, dtype=np.float64)[:, None], 1.0)
    prompts = decodes / max(traffic.osl.mean - 1.0, 1.0)
    tokens = traffic.isl.mean * (1.0 - np.array(hits)[:, None]) * prompts
    context = decodes * traffic.held
    alone = step.breakdown(decodes, context)
    mixed = step.breakdown(decodes, context, tokens, tokens * traffic.isl.mean / 2.0, prompts)
    none = np.zeros_like(decodes)
    base = sum((alone.get(key, none) for key in _MATRIX), none)
    added = np.maximum(sum((mixed.get(key, none) for key in _MATRIX), none) - base, 0.0)
    before = _compute_share(step, decodes)
    after = np.maximum(_compute_share(step, decodes + tokens), before)
    shares = {
        Bottleneck.COMPUTE: before * base + after * added + mixed.get("attention_prefill", none),
        Bottleneck.WEIGHT_BANDWIDTH: (1.0 - before) * base + (1.0 - after) * added,
        Bottleneck.KV_BANDWIDTH: mixed.get("attention_decode", none),
        Bottleneck.LINK: mixed["link"] + none,
        Bottleneck.HOST: mixed["glue"] + mixed["host"] + mixed["launch"] + none,
    }
    whole = sum(shares.values(), none)
    return [
        {name: float(share[row, 0] / whole[row, 0]) for name, share in shares.items()}
        for row in range(len(batch))
    ]


def _compute_share(step: StepModel, tokens: Array) -> Array:
    """Share of the GEMMs' time in those whose FLOPs take longer than their weights' bytes. [1]"""
    gemm = step.gemms
    size = gemm.n * gemm.k
    flops = 2.0 * tokens[..., None] * size / (gemm.law.eta_flops * gemm.law.peak_flops)
    moved = gemm.weight_bytes * size / (gemm.law.eta_bandwidth * gemm.law.bandwidth)
    time = gemm.number * np.maximum(flops, moved)
    share: Array = np.sum(time * (flops > moved), axis=-1) / np.sum(time, axis=-1)
    return share
