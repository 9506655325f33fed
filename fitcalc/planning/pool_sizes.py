"""The smallest prefill and decode pools that keep a promise, each sized by itself."""

from __future__ import annotations

from collections.abc import Callable

from fitcalc.answers import Limit, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.fleet import Pools
from fitcalc.inputs.mixture import Mix
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.setup import ModelName
from fitcalc.planning.simulated import simulate
from fitcalc.simulation.report import Simulation
from fitcalc.simulation.routers import Router

_NO_BOUND_MS = 1e7


def smallest_pools(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic_or_trace: Traffic | Trace | Mix,
    slo: Slo,
    *,
    kv_link: str | None = None,
    most: int = 64,
    seed: int = 0,
) -> Pools | Rejection:
    """Find the fewest prefill servers that keep the TTFT, then the fewest decode servers for all.

    The share of requests within the bounds must reach ``slo.percentile``, and the pools keep up.
    Each pool is sized by bisection over simulations: more servers are taken to serve no worse.

    Args:
        model: As in ``simulate``.
        gpu: As in ``simulate``, of both pools.
        engine: As in ``simulate``, of both pools.
        traffic_or_trace: As in ``simulate``, an open loop.
        slo: What must be kept.
        kv_link: As in ``Pools``.
        most: Servers of a pool at most. [1]
        seed: As in ``simulate``.

    Returns:
        The pools, or a falsy ``Rejection`` where ``most`` servers do not keep the promise.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    if most < 1:
        raise InvalidValue("most", most, "give a whole number of servers above 0")

    def met(pools: Pools, promise: Slo) -> float | Rejection:
        seen = simulate(
            model,
            gpu,
            engine,
            traffic_or_trace,
            pools=pools,
            slo=promise,
            seed=seed,
            router=Router.LEAST_REQUESTS,
        )
        return _share(seen) if isinstance(seen, Simulation) else seen

    first_token = slo.replace(itl_ms=_NO_BOUND_MS, e2e_ms=None)
    prefill = _fewest(lambda n: met(Pools(n, most, kv_link), first_token), slo, most)
    if isinstance(prefill, Rejection):
        return prefill
    decode = _fewest(lambda n: met(Pools(prefill, n, kv_link), slo), slo, most)
    return decode if isinstance(decode, Rejection) else Pools(prefill, decode, kv_link)


def smallest_fleet(
    model: ModelName,
    gpu: str,
    engine: EngineArgs | None,
    traffic_or_trace: Traffic | Trace | Mix,
    slo: Slo,
    *,
    most: int = 64,
    seed: int = 0,
) -> int | Rejection:
    """Find the fewest servers that do both, held to the promise as ``smallest_pools`` is. [1]

    Args:
        model: As in ``simulate``.
        gpu: As in ``simulate``.
        engine: As in ``simulate``.
        traffic_or_trace: As in ``simulate``.
        slo: What must be kept.
        most: Servers at most. [1]
        seed: As in ``simulate``.
    """

    def met(servers: int) -> float | Rejection:
        seen = simulate(
            model,
            gpu,
            engine,
            traffic_or_trace,
            replicas=servers,
            slo=slo,
            seed=seed,
            router=Router.LEAST_REQUESTS,
        )
        return _share(seen) if isinstance(seen, Simulation) else seen

    return _fewest(met, slo, most)


def _share(seen: Simulation) -> float:
    """Share of the requests within every bound; none where the pools do not keep up. [1]"""
    return (seen.slo_met or 0.0) if seen.stable else 0.0


def _fewest(met: Callable[[int], float | Rejection], slo: Slo, most: int) -> int | Rejection:
    """Bisect for the fewest servers whose share of kept requests reaches the percentile."""
    needed = slo.percentile / 100.0
    best = met(most)
    if isinstance(best, Rejection):
        return best
    if best < needed:
        reason = f"{most} servers a pool keep the promise for {100 * best:.1f} % of requests"
        return Rejection(limit=Limit.TTFT, needed=needed, available=best, reason=reason)
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        share = met(middle)
        if isinstance(share, Rejection) or share < needed:
            low = middle
        else:
            high = middle
    return high
