"""The same traffic bought by the token: list prices of hosts, and up to which rate they win."""

from __future__ import annotations

from collections.abc import Callable

from fitcalc.catalog.api_price import ApiPrice, api_prices
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Choice, Hosted, HostedPrice, PlanQuestion
from fitcalc.planning.cost import bill
from fitcalc.planning.market import Market
from fitcalc.units import SECONDS_PER_HOUR

_MOST_SERVERS = 64
"""Servers up to which a break-even is looked for: whole instances repeat long before. [1]"""


def hosted(asked: PlanQuestion, best: Choice, sold: Market) -> Hosted | None:
    """Price the traffic at the model's hosts; ``None`` where no host is known.

    Args:
        asked: The plan's question; its rate is the day's peak.
        best: The servers to compare with.
        sold: What servers cost.
    """
    traffic, mean = asked.traffic, asked.buying.mean_share
    prompt, peak = (
        traffic.isl.at_most(),
        best.prediction.requests_per_s * (best.replicas - asked.risk.spare),
    )
    able = [p for p in api_prices(asked.model) if (p.max_input_tokens or prompt) >= prompt]
    if not able:
        return None
    able.sort(key=lambda price: _usd_per_request(price, traffic))
    hourly = peak * mean * SECONDS_PER_HOUR
    even = None
    if best.usd_per_hour is not None:
        each = best.prediction.requests_per_s / (1.0 - best.headroom) * (1.0 - asked.headroom)
        cost = _usd_per_request(able[0], traffic) * mean
        even = break_even_qps(lambda n: _hourly(best, n, sold), each, cost, best.replicas)
    return Hosted(
        hosts=tuple(
            HostedPrice(
                host=price.host,
                name=price.name,
                usd_per_million_input_tokens=price.input,
                usd_per_million_output_tokens=price.output,
                usd_per_hour=_usd_per_request(price, traffic) * hourly,
                checked=price.checked,
            )
            for price in able
        ),
        break_even_qps=even,
        source=able[0].source,
    )


def break_even_qps(
    usd_per_hour: Callable[[int], float], qps_each: float, usd_per_request: float, servers: int
) -> float | None:
    """Return the lowest rate at which servers cost no more than a price by the request. [req/s]

    n servers carry up to ``n qps_each``; they pay from ``usd_per_hour(n) / (3600 usd_per_request)``
    on. Below the least n where that is within what they carry, the requests are always cheaper.

    Args:
        usd_per_hour: What a number of servers costs. [USD/h]
        qps_each: What one of them carries. [req/s]
        usd_per_request: What a request costs elsewhere. [USD]
        servers: The most that are asked about. [1]

    Examples:
        >>> break_even_qps(lambda n: 3.6 * n, 2.0, 0.001, 4)
        1.0
        >>> break_even_qps(lambda n: 3.6 * n, 0.5, 0.001, 4) is None
        True
    """
    for n in range(1, min(servers, _MOST_SERVERS) + 1):
        pays = usd_per_hour(n) / (usd_per_request * SECONDS_PER_HOUR)
        if pays <= n * qps_each:
            return max(pays, (n - 1) * qps_each)
    return None


def _usd_per_request(price: ApiPrice, traffic: Traffic) -> float:
    return price.usd_per_request(traffic.isl.mean, traffic.osl.mean, traffic.hit_share)


def _hourly(best: Choice, servers: int, sold: Market) -> float:
    found = bill(best.gpu, best.engine.gpus, servers, sold)
    return float("inf") if found is None else found.usd_per_hour
