"""Features beside the plan without them."""

from __future__ import annotations

import pytest

from fitcalc import Plan, Slo, Traffic, plan
from fitcalc.planning.feature import Feature, FeatureName
from fitcalc.report.feature_view import feature_lines

TENANTS = Traffic(qps=20, isl=6000, osl=300, prefix_tokens=5000, num_prefixes=40)
GPUS = ("h100_sxm", "l40s")


def asked(traffic: Traffic) -> Plan:
    return plan("llama-3.1-8b", traffic, Slo(ttft_ms=1000, itl_ms=60), gpus=GPUS)


def only(found: Plan) -> Feature:
    assert len(found.features) == 1
    return found.features[0]


def test_a_plan_without_shared_prefixes_compares_nothing() -> None:
    assert asked(TENANTS.replace(prefix_tokens=0, num_prefixes=1)).features == ()


def test_prefix_caching_saves_what_the_two_bills_say() -> None:
    found = asked(TENANTS)
    cold = asked(TENANTS.replace(prefix_tokens=0, num_prefixes=1)).best
    row = only(found)
    assert found.best is not None
    assert cold is not None
    assert row.name is FeatureName.PREFIX_CACHING
    assert row.having is not None
    assert row.without is not None
    assert row.having.usd_per_hour == found.best.usd_per_hour
    assert row.without.usd_per_hour == cold.usd_per_hour
    assert row.saving == pytest.approx(1 - found.best.usd_per_hour / cold.usd_per_hour)  # type: ignore[operator]
    assert row.saving is not None
    assert row.recommended == (row.saving > 0)
    assert row.recommended
    assert "recommended" in feature_lines(found.features)[0]


def test_more_prefixes_never_cost_less() -> None:
    bills = []
    for count in (1, 40, 1000, 100_000):
        best = asked(TENANTS.replace(num_prefixes=count)).best
        assert best is not None
        bills.append(best.usd_per_hour or 0.0)
    assert bills == sorted(bills)
    cold = asked(TENANTS.replace(prefix_tokens=0, num_prefixes=1)).best
    assert cold is not None
    assert bills[-1] <= (cold.usd_per_hour or 0.0)


def test_a_router_that_knows_prefixes_is_named_where_it_would_help() -> None:
    why = only(asked(TENANTS.replace(qps=200, num_prefixes=2000))).why
    assert any("router" in line for line in why)
