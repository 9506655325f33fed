"""Fits: from measured rows of one GPU and format to the coefficients of one law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fitcalc.calibrate.solve import Fit, Start, described, fit_law
from fitcalc.calibrate.tables import Table
from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.physics.attention import attention_decode_s, attention_prefill_s
from fitcalc.physics.collectives import all_reduce_s, exchange_s
from fitcalc.physics.experts import experts_s, moe_s
from fitcalc.physics.kernels import gemm_s, memory_bound_s
from fitcalc.units import MICRO, MILLI, Array

Values = Mapping[str, float]
FRACTION = Start(0.7, 1e-3, 1.0)
FLOOR = Start(5e-6, 1e-7, 3e-4)


class Card(NamedTuple):
    """Measured rows of one GPU and its peaks."""

    rows: Table
    peak_flops: float
    bandwidth: float


GEMM_OF_CHIP = {
    "eta_flops": FRACTION,
    "rows_half": Start(16.0, 0.01, 512.0),
    "passes": Start(0.5, 0.01, 32.0),
    "depth_half": Start(100.0, 0.1, 4096.0),
    "tail": Start(1e5, 1.0, 1e8),
    "depth_s": Start(1e-10, 1e-14, 1e-7),
    "unfilled": Start(0.1, 1e-4, 4.0),
}
"""Coefficients of a GEMM that cards with the same chip share."""
GEMM_OF_CARD = {"eta_bandwidth": FRACTION, "t0_s": FLOOR}


def fit_gemm(cards: Sequence[Card], weight_bytes: float) -> Fit:
    """Fit ``GemmLaw`` to columns m, n, k, latency_ms; return the first card's.

    Args:
        cards: The card, and others with the same chip beside other memory: they share what the
            chip computes, which each alone could trade for its memory's speed.
        weight_bytes: Bytes of a stored weight with its scales. [B]
    """
    names = GemmLaw._fields[2:]
    own = [name if name in GEMM_OF_CHIP else f"{name}.0" for name in names]
    starts = {
        **GEMM_OF_CHIP,
        **{f"{name}.{i}": s for i in range(len(cards)) for name, s in GEMM_OF_CARD.items()},
    }
    sizes = [[card.rows.number(c) for c in ("m", "n", "k")] for card in cards]

    def predict(values: Values) -> Array:
        times = []
        for i, (card, (m, n, k)) in enumerate(zip(cards, sizes, strict=True)):
            given = {name: values[name] for name in GEMM_OF_CHIP}
            given |= {name: values[f"{name}.{i}"] for name in GEMM_OF_CARD}
            law = GemmLaw(peak_flops=card.peak_flops, bandwidth=card.bandwidth, **given)
            times.append(np.asarray(gemm_s(m, n, k, weight_bytes, law)))
        return np.concatenate(times)

    measured = np.concatenate([card.rows.number("latency_ms") for card in cards]) * MILLI
    fit = fit_law(predict, measured, starts)
    mine = slice(0, len(cards[0].rows))
    return described(
        {name: fit.values[key] for name, key in zip(names, own, strict=True)},
        {name: fit.standard_errors[key] for name, key in zip(names, own, strict=True)},
        np.log(predict(fit.values)[mine]) - np.log(measured[mine]),
    )


def fit_attention_decode(
    rows: Table, peak_flops: float, bandwidth: float, kv_bytes_per_element: float, eta_flops: float
) -> Fit:
    """Fit ``AttentionDecodeLaw`` to batch_size, ctx, num_heads, kv_heads, head_dim, latency_us.

    ``eta_flops`` is given: with grouped heads decode attention never waits for compute.
    """
    batch, heads, head_dim = (rows.number(c) for c in ("batch_size", "num_heads", "head_dim"))
    context = batch * rows.number("ctx")
    kv_bytes = 2.0 * rows.number("kv_heads") * head_dim * kv_bytes_per_element

    def predict(values: Values) -> Array:
        law = AttentionDecodeLaw(
            peak_flops=peak_flops, bandwidth=bandwidth, eta_flops=eta_flops, **values
        )
        return np.asarray(attention_decode_s(batch, context, heads, head_dim, kv_bytes, law))

    starts = {
        "eta_bandwidth": FRACTION,
        "t0_s": FLOOR,
        "sequence_tokens": Start(20.0, 0.1, 512.0),
    }
    return fit_law(predict, rows.number("latency_us") * MICRO, starts)


def fit_attention_prefill(
    rows: Table, peak_flops: float, bandwidth: float, kv_bytes_per_element: float
) -> Fit:
    """Fit ``AttentionPrefillLaw`` to batch_size, isl, num_heads, kv_heads, head_dim, latency_us."""
    batch, isl, heads, head_dim = (
        rows.number(c) for c in ("batch_size", "isl", "num_heads", "head_dim")
    )
    kv_bytes = 2.0 * rows.number("kv_heads") * head_dim * kv_bytes_per_element
    pairs = batch * isl**2 / 2.0

    def predict(values: Values) -> Array:
        law = AttentionPrefillLaw(peak_flops=peak_flops, bandwidth=bandwidth, **values)
        return np.asarray(attention_prefill_s(pairs, batch * isl, heads, head_dim, kv_bytes, law))

    starts = {
        "eta_flops": Start(0.5, 1e-3, 2.0),
        "t0_s": Start(2e-5, 1e-6, 5e-4),
        "length_half": Start(300.0, 1.0, 8192.0),
        "tail": Start(3e4, 1.0, 1e6),
        "passes": Start(5.0, 0.01, 500.0),
    }
    return fit_law(predict, rows.number("latency_us") * MICRO, starts)


class Routing(NamedTuple):
    """How unevenly the measured traffic was routed: a property of it, not of a GPU.

    Attributes:
        dispersion: Evenness of the experts' popularity. [1]
        imbalance: Relative spread of the experts' loads. [1]
    """

    dispersion: float
    imbalance: float


def fit_moe(
    rows: Table,
    peak_flops: float,
    bandwidth: float,
    weight_bytes: float,
    routing: Routing | None = None,
) -> Fit:
    """Fit ``MoeLaw`` to evenly routed (``balanced``) and skewed rows together.

    A given ``routing`` is kept; without one it is fitted too.
    """
    tokens, hidden, inter, topk, experts, tp, ep = (
        rows.number(c)
        for c in (
            "num_tokens", "hidden_size", "inter_size", "topk", "num_experts",
            "moe_tp_size", "moe_ep_size",
        )
    )  # fmt: skip
    even = rows.text("distribution") == "balanced"
    params, width = 3.0 * hidden * inter / tp, hidden + inter / tp
    each = np.clip(tokens * topk, ep, experts) / ep

    def predict(values: Values) -> Array:
        given = values if routing is None else {**values, **routing._asdict()}
        law = MoeLaw(peak_flops=peak_flops, bandwidth=bandwidth, **given)
        found = law.ep_s * (ep > 1)
        evenly = found + experts_s(tokens * topk / ep, each, params, width, weight_bytes, law)
        skewed = moe_s(tokens, hidden, inter, topk, experts, weight_bytes, law, tp=tp, ep=ep)
        return np.where(even, evenly, skewed)

    starts = {
        "eta_flops": FRACTION,
        "eta_bandwidth": FRACTION,
        "t0_s": Start(1.5e-5, 1e-6, 3e-4),
        "rows_half": Start(16.0, 0.01, 256.0),
        "passes": Start(2.0, 0.01, 64.0),
        "ep_s": Start(2e-6, 1e-8, 1e-4),
    }
    if routing is None:
        free = {"dispersion": Start(1.0, 0.05, 50.0), "imbalance": Start(1.0, 0.01, 8.0)}
        starts.update(free)
    return fit_law(predict, rows.number("latency_us") * MICRO, starts)


def fit_all_reduce(rows: Table, ranks: int, link_bandwidth: float) -> Fit:
    """Fit ``AllReduceLaw`` to columns bytes, latency_us of one number of ranks."""
    size = rows.number("bytes")

    def predict(values: Values) -> Array:
        law = AllReduceLaw(link_bandwidth=link_bandwidth, **values)
        return np.asarray(all_reduce_s(size, ranks, law))

    starts = {
        "one_shot_s": Start(4e-6, 1e-7, 1e-3),
        "eta_one_shot": FRACTION,
        "ring_s": Start(2e-5, 1e-7, 1e-3),
        "eta_ring": Start(0.6, 0.01, 1.2),
    }
    fit = fit_law(predict, rows.number("latency_us") * MICRO, starts)
    return by_floor(fit) if ranks == 2 else fit


def by_floor(fit: Fit) -> Fit:
    """Call the lower floor one-shot: among two ranks both algorithms move the same bytes."""
    if fit.values["one_shot_s"] <= fit.values["ring_s"]:
        return fit
    other = {
        "one_shot_s": "ring_s",
        "eta_one_shot": "eta_ring",
        "ring_s": "one_shot_s",
        "eta_ring": "eta_one_shot",
    }
    return replace(
        fit,
        values={name: fit.values[twin] for name, twin in other.items()},
        standard_errors={name: fit.standard_errors[twin] for name, twin in other.items()},
    )


def fit_exchange(rows: Table, ranks: int, link_bandwidth: float) -> Fit:
    """Fit ``ExchangeLaw`` to columns bytes, latency_us of one operation and number of ranks."""
    size = rows.number("bytes")

    def predict(values: Values) -> Array:
        law = ExchangeLaw(link_bandwidth=link_bandwidth, **values)
        return np.asarray(exchange_s(size, ranks, law))

    starts = {"t0_s": Start(1e-5, 1e-7, 1e-3), "eta_link": Start(0.5, 0.01, 1.2)}
    return fit_law(predict, rows.number("latency_us") * MICRO, starts)


def fit_memory(rows: Table, bandwidth: float) -> Fit:
    """Fit ``MemoryLaw`` to columns bytes, latency_us."""
    size = rows.number("bytes")

    def predict(values: Values) -> Array:
        return np.asarray(memory_bound_s(size, MemoryLaw(bandwidth=bandwidth, **values)))

    starts = {"eta_bandwidth": FRACTION, "t0_s": Start(2e-6, 1e-7, 1e-4)}
    return fit_law(predict, rows.number("latency_us") * MICRO, starts)
