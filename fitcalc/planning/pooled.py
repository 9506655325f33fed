"""Prefill and decode on servers of their own, beside servers that do both."""

from __future__ import annotations

from fitcalc.answers import Limit, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.fleet import Pools, groups_of
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.cost import bought
from fitcalc.planning.feature import Feature, FeatureName, Fleet, judged
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.pool_sizes import smallest_fleet, smallest_pools
from fitcalc.planning.ranking import Limits
from fitcalc.planning.search import Search
from fitcalc.planning.simulated import simulate
from fitcalc.simulation.report import Simulation
from fitcalc.simulation.routers import Router

_MOST_MORE = 2


def disaggregated(search: Search, best: Finalist, limits: Limits) -> Feature:
    """Compare the fewest prefill and decode servers with the fewest that do both, by events.

    All are servers as the plan chose them, serve the same requests and are held to the same share
    of requests within every bound; the load is raised so that the headroom stays free.

    Raises:
        InvalidValue: clients in a loop.
    """
    if search.traffic.qps is None:
        raise InvalidValue("disaggregated", "concurrency", "give qps: pools serve an open loop")
    traffic = search.traffic.replace(qps=search.traffic.qps / (1.0 - limits.headroom))
    found = best.priced.found
    engine = found.entry.block.asked.replace(
        max_num_seqs=found.max_num_seqs, max_num_batched_tokens=found.max_num_batched_tokens
    )
    most = _MOST_MORE * best.choice.replicas + 1
    asked = search.model.id, best.choice.gpu, engine, traffic
    servers = smallest_fleet(*asked, search.slo, most=most)
    pools = smallest_pools(*asked, search.slo, most=most)
    said = best.choice.prediction
    return judged(
        FeatureName.DISAGGREGATED,
        None if isinstance(pools, Rejection) else _fleet(search, best, limits, engine, pools),
        None if isinstance(servers, Rejection) else _fleet(search, best, limits, engine, servers),
        risk=said.interval.tpot_ms[1] / said.tpot_ms.mean - 1.0,
        why=_why(pools, search.slo.percentile),
    )


def _fleet(
    search: Search, best: Finalist, limits: Limits, engine: EngineArgs, servers: Pools | int
) -> Fleet:
    """Return servers with their bill, and what users feel at the rate asked for."""
    apart = servers if isinstance(servers, Pools) else None
    count = servers if isinstance(servers, int) else servers_of(servers)
    gpus = best.priced.found.entry.gpus
    bill = bought(best.choice.gpu, gpus, limits.sold)(count)
    traffic: Traffic = search.traffic
    seen = simulate(
        search.model.id,
        best.choice.gpu,
        engine,
        traffic,
        replicas=1 if apart else count,
        pools=apart,
        router=Router.LEAST_REQUESTS,
    )
    felt = seen if isinstance(seen, Simulation) else best.choice.prediction
    return Fleet(
        gpu=best.choice.gpu,
        gpu_count=count * gpus,
        replicas=count,
        usd_per_hour=bill.usd_per_hour,
        ttft_ms=felt.ttft_ms.at(search.slo.at(Limit.TTFT)),
        itl_ms=felt.itl_ms.at(search.slo.at(Limit.ITL)),
    )


def servers_of(pools: Pools) -> int:
    """Servers of both pools. [1]"""
    groups = (*groups_of(pools.prefill, "prefill"), *groups_of(pools.decode, "decode"))
    return sum(group.count for group in groups)


def _why(pools: Pools | Rejection, percentile: float) -> tuple[str, ...]:
    how = (
        f"both are the fewest servers that keep every bound for {percentile:g} % of the same "
        "requests event by event, the headroom on top"
    )
    if isinstance(pools, Rejection):
        return pools.reason, how
    sizes = (
        f"{pools.prefill} of the servers compute prompts and {pools.decode} make tokens: no step "
        "that decodes carries a prompt, each pool's spare time is its own, KV caches cross a link"
    )
    return sizes, how
