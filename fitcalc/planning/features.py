"""Features that change the answer, each beside the plan without it."""

from __future__ import annotations

import math

import numpy as np

from fitcalc.answers import Limit
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Choice
from fitcalc.planning.feature import Feature, FeatureName, Fleet, judged
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.server import prefixes_of

_PERCENT = 100.0
_WORTH_ROUTING = 0.02
"""Hits that a router which knows prefixes must add to be named. [1]"""


def fleet_of(choice: Choice, slo: Slo) -> Fleet:
    """Return a choice in the few figures that people compare."""
    found = choice.prediction
    return Fleet(
        gpu=choice.gpu,
        gpu_count=choice.gpu_count,
        replicas=choice.replicas,
        usd_per_hour=choice.usd_per_hour,
        ttft_ms=found.ttft_ms.at(slo.at(Limit.TTFT)),
        itl_ms=found.itl_ms.at(slo.at(Limit.ITL)),
    )


def prefix_caching(best: Finalist, plain: Choice | None, slo: Slo) -> Feature:
    """Compare a plan with the prefix cache and one without it.

    It is vLLM's default and costs nothing where nobody hits, so that any saving is a gain.

    Args:
        best: The plan's best, the cache on.
        plain: The best with the cache off; ``None`` = none keeps the promise.
        slo: The promise.
    """
    return judged(
        FeatureName.PREFIX_CACHING,
        fleet_of(best.choice, slo),
        None if plain is None else fleet_of(plain, slo),
        risk=0.0,
        why=_hits(best),
    )


def _hits(best: Finalist) -> tuple[str, ...]:
    """Say how many prompt tokens hit, what bounds them, and what a router would add."""
    traffic, found = best.share, best.choice.prediction
    first = f"{_PERCENT * found.prefix_hit:.0f} % of prompt tokens come from the prefix cache"
    if not traffic.prefix_tokens:
        return (f"{first}, as given",)
    size = f"{traffic.prefix_tokens:,} tokens"
    if traffic.num_prefixes == 1:
        return (f"{first}: all prompts start with the same {size}, kept once",)
    hit = found.prefix_hit / traffic.hit_share
    found_own = (
        f"{first}: beside {found.steady_batch:.3g} running requests the KV cache of a server "
        f"keeps so much that {_PERCENT * hit:.0f} % of prompts find theirs of "
        f"{traffic.num_prefixes:,} prefixes of {size}"
    )
    routed = _routed(best)
    if routed <= hit + _WORTH_ROUTING:
        return (found_own,)
    would = (
        f"a router that keeps each prefix on one of the {best.choice.replicas} servers would "
        f"let {_PERCENT * routed:.0f} % find theirs; that is not counted"
    )
    return found_own, would


def _routed(best: Finalist) -> float:
    """Share of prompts that find their prefix where each server sees its own ones only. [1]"""
    some = math.ceil(best.share.num_prefixes / best.choice.replicas)
    room = prefixes_of(best.setup, best.ledger, best.share.replace(num_prefixes=some))
    if room is None:
        return 0.0
    return float(room.found(np.array([[best.choice.prediction.steady_batch]]))[0, 0])
