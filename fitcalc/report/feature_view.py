"""What each feature that was asked about gains or loses, in words."""

from __future__ import annotations

from fitcalc.planning.feature import Feature, FeatureName, Fleet
from fitcalc.report.words import count, gpu_name, milliseconds, sentence, usd

_PERCENT = 100.0
_SHOWN = 0.005
_NAMES = {
    FeatureName.PREFIX_CACHING: "Prefix caching",
    FeatureName.SPECULATIVE_DECODING: "Speculative decoding",
    FeatureName.DISAGGREGATED: "Prefill apart from decode",
    FeatureName.SEPARATE_POOLS: "A pool for each class",
    FeatureName.LORA: "Serving adapters",
    FeatureName.KV_OFFLOAD: "Prefixes in host memory",
}


def feature_lines(features: tuple[Feature, ...]) -> tuple[str, ...]:
    """Say what each feature costs beside the plan without it, and why."""
    return tuple(
        line
        for one in features
        for line in (_verdict(one), *map(sentence, one.why), *_flags(one), *_pools(one))
    )


def _pools(one: Feature) -> tuple[str, ...]:
    return tuple(f"{x.name}: {_fleet(x.fleet)}: {x.vllm_command}" for x in one.pools)


def _flags(one: Feature) -> tuple[str, ...]:
    where = f"of {_gpus(one.having.gpu)} " if one.having else ""
    return (f"Add to the command {where}: {one.flags}".replace(" :", ":"),) if one.flags else ()


def _gpus(gpu: str) -> str:
    return " and ".join(map(gpu_name, gpu.split(" + ")))


def _verdict(one: Feature) -> str:
    name = _NAMES[one.name]
    if one.having is None:
        return f"{name} is not recommended: with it nothing keeps the promise."
    if one.without is None:
        return f"{name} is recommended: without it nothing keeps the promise."
    both = f"{_fleet(one.having)} with it, {_fleet(one.without)} without"
    return f"{name} {_gain(one)}: {both}."


def _gain(one: Feature) -> str:
    saving = one.saving or 0.0
    if abs(saving) < _SHOWN:
        gain = "changes nothing in the bill"
    elif saving > 0:
        gain = f"saves {_PERCENT * saving:.0f} %"
    else:
        gain = f"costs {-_PERCENT * saving:.0f} % more"
    if one.recommended:
        return f"{gain} and is recommended"
    if saving > 0 and one.risk > 0:
        return f"{gain}, less than the {_PERCENT * one.risk:.0f} % that the prediction may be off"
    return gain


def _fleet(fleet: Fleet) -> str:
    price = f" at {usd(fleet.usd_per_hour)} an hour" if fleet.usd_per_hour else ""
    return (
        f"{fleet.gpu_count} x {_gpus(fleet.gpu)}{price} in {count(fleet.replicas, 'server')} "
        f"(TTFT {milliseconds(fleet.ttft_ms)}, gaps {milliseconds(fleet.itl_ms)})"
    )
