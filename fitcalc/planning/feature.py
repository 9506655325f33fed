"""A feature that can change a plan: what it costs beside the same plan without it."""

from __future__ import annotations

from enum import StrEnum

from fitcalc.answers import Row


class FeatureName(StrEnum):
    """What can be asked for."""

    PREFIX_CACHING = "prefix_caching"
    SPECULATIVE_DECODING = "speculative_decoding"
    DISAGGREGATED = "disaggregated"
    SEPARATE_POOLS = "separate_pools"
    LORA = "lora"
    KV_OFFLOAD = "kv_offload"


class Fleet(Row):
    """Servers in the few figures that people compare.

    Attributes:
        gpu: Table id; of several types all, joined by " + ".
        gpu_count: GPUs of all servers. [1]
        replicas: Servers. [1]
        usd_per_hour: All of them; ``None`` where no price is known. [USD/h]
        ttft_ms, itl_ms: At the promised percentiles. [ms]
    """

    gpu: str
    gpu_count: int
    replicas: int
    usd_per_hour: float | None
    ttft_ms: float
    itl_ms: float


class Pool(Row):
    """Servers of their own for some of the traffic.

    Attributes:
        name: Whose.
        fleet: The servers.
        vllm_command: Starts one of them.
    """

    name: str
    fleet: Fleet
    vllm_command: str


class Feature(Row):
    """A feature beside the plan without it.

    Attributes:
        name: Which.
        having: The cheapest servers with it; ``None`` = none keeps the promise.
        without: The cheapest without it; ``None`` = none keeps the promise.
        saving: Share of the bill that it saves, of the GPUs where a price is not known; below 0 =
            it costs more; ``None`` = one of the two serves nothing. [1]
        risk: Saving above which it is recommended: what the prediction may be off. [1]
        recommended: Whether it wins by more than its risk.
        why: Where the gain or the loss comes from.
        flags: What ``vllm serve`` takes besides; "" = nothing.
        pools: Servers that are started apart, where the feature has such.
    """

    name: FeatureName
    having: Fleet | None
    without: Fleet | None
    saving: float | None
    risk: float
    recommended: bool
    why: tuple[str, ...]
    flags: str = ""
    pools: tuple[Pool, ...] = ()


def judged(
    name: FeatureName,
    having: Fleet | None,
    without: Fleet | None,
    *,
    risk: float,
    why: tuple[str, ...],
    flags: str = "",
    pools: tuple[Pool, ...] = (),
) -> Feature:
    """Compare servers with a feature and without it."""
    saving = None if having is None or without is None else _saving(having, without)
    wins = having is not None if saving is None else saving > risk
    return Feature(
        name=name,
        having=having,
        without=without,
        saving=saving,
        risk=risk,
        recommended=wins,
        why=why,
        flags=flags,
        pools=pools,
    )


def _saving(having: Fleet, without: Fleet) -> float:
    """Share of the bill, or of the GPUs where a price is missing. [1]"""
    if having.usd_per_hour is None or without.usd_per_hour is None:
        return 1.0 - having.gpu_count / without.gpu_count
    return 1.0 - having.usd_per_hour / without.usd_per_hour
