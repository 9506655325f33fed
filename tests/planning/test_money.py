"""Money: sums done by hand, and laws that any prices keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import Buying, FitcalcError, OwnedServer, Traffic, plan
from fitcalc.answers import Terms
from fitcalc.catalog.api_price import api_prices
from fitcalc.catalog.gpu import gpu_ids, load_gpu
from fitcalc.catalog.model_names import model_ids
from fitcalc.catalog.price import cheapest_first
from fitcalc.planning.cost import bill
from fitcalc.planning.hosted import break_even_qps
from fitcalc.planning.market import Market, market, owned_offer

CHAT = Traffic(qps=4, isl=1000, osl=250)
SERVER = OwnedServer(
    gpu="h100", gpus=8, price=250_000, years=4, host_power_w=2_500, tariff_per_kwh=0.20, pue=1.3
)
AMOUNT = st.floats(0.5, 200.0)
SIZES = st.sampled_from([1, 2, 4, 8])


def test_an_owned_server_costs_what_the_hand_sums_up() -> None:
    """250,000 / (4 x 8760 h) = 7.134673; (8 x 700 W + 2500 W) x 1.3 x 0.20 / kWh = 2.106."""
    assert load_gpu("h100").power_w == 700
    assert owned_offer(SERVER).usd_per_hour == pytest.approx(7.134703 + 2.106, abs=1e-4)


def test_spot_prices_are_those_of_the_source() -> None:
    """GCP a3-highgpu-8g, us-central1, 2026-08-03: 6.3262 USD a GPU hour, 50.6096 the eight."""
    found = bill("h100_sxm", 8, 1, market(Buying(terms=Terms.SPOT, cloud="gcp")))
    assert found is not None
    assert found.usd_per_hour == pytest.approx(50.6096)
    assert "spot" in found.source


def test_a_hosted_request_costs_what_the_hand_sums_up() -> None:
    """Hyperbolic, Llama-3.3-70B, 2026-07-24: 0.12 in, 0.30 out per million: 1000 + 250 tokens."""
    host = next(p for p in api_prices("llama-3.3-70b-instruct") if p.host == "hyperbolic")
    assert host.usd_per_request(1000, 250) == pytest.approx((120 + 75) * 1e-6)
    cached = replace(host, cached_input=0.06)
    assert cached.usd_per_request(1000, 250, 0.5) == pytest.approx((60 + 30 + 75) * 1e-6)


def test_every_listed_model_is_known_and_dated() -> None:
    listed = [name for name in model_ids() if api_prices(name)]
    assert len(listed) > 30
    for name in listed:
        for price in api_prices(name):
            assert price.checked == "2026-07-24"
            assert 0 < price.input <= price.output * 20
            assert price.output < 30


def test_a_plan_prices_its_tokens_its_idle_share_and_its_hosts() -> None:
    full = plan("llama-3.1-8b", CHAT)
    half = plan("llama-3.1-8b", CHAT, buying=Buying(mean_share=0.5))
    best, slack = full.best, half.best
    assert best is not None
    assert slack is not None
    hourly, tokens = best.usd_per_hour or 0.0, 4 * 1000 * 3600
    assert best.usd_per_million_input_tokens == pytest.approx(hourly / tokens * 1e6)
    assert best.usd_per_million_output_tokens == pytest.approx(hourly / (tokens / 4) * 1e6)
    assert best.usd_per_million_tokens == pytest.approx(hourly / (tokens * 1.25) * 1e6)
    assert slack.usd_per_million_tokens == pytest.approx(2 * (best.usd_per_million_tokens or 0))
    assert 1 - slack.idle_share == pytest.approx((1 - best.idle_share) / 2)
    beside = full.hosted
    assert beside is not None
    costs = [host.usd_per_hour for host in beside.hosts]
    assert costs == sorted(costs)
    first = beside.hosts[0]
    rates = (first.usd_per_million_input_tokens, first.usd_per_million_output_tokens)
    assert first.usd_per_hour == pytest.approx(4 * 3600 * (1000 * rates[0] + 250 * rates[1]) * 1e-6)


def test_own_prices_are_used_in_their_currency(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(
        'currency = "EUR"\nusd_per_unit = 1.1\nchecked = 2026-11-01\n'
        '[[offers]]\ngpu = "h100"\ngpus = 8\nper_hour = 20\n'
    )
    found = plan("70b", CHAT, buying=Buying(prices=path))
    assert found.best is not None
    assert found.question.gpus == ("h100_sxm",)
    assert (found.question.currency, found.question.usd_per_unit) == ("EUR", 1.1)
    servers = (found.best.gpus_bought or 0) / 8
    assert found.best.usd_per_hour == pytest.approx(servers * 22.0)
    assert "2026-11-01" in found.best.price_source


OFFER = '[[offers]]\ngpu = "h100"\ngpus = 8\nper_hour = 20\n'


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (OFFER, "line 1: checked"),
        ("checked = 2026-01-01", "offers"),
        ("checked = 2026-01-01\n" + OFFER.replace("20", "-1"), "per_hour"),
        ("checked = 2026-01-01\n" + OFFER.replace("h100", "h1000"), "line 3: no gpu"),
        ("checked = 2024-01-01\nvalid_until = 2024-06-30\n" + OFFER, "line 2: .* in the past"),
        ('currency = "EUR"\nchecked = 2026-01-01\n' + OFFER, "usd_per_unit"),
        ("checked = 2026-01-01\nprice = 3\n" + OFFER, "line 2: price"),
        ("checked = 2026-01-01\n" + OFFER + OFFER.replace("20", "-1"), "offers.1.per_hour"),
    ],
)
def test_price_tables_that_make_no_sense_are_refused(tmp_path: Path, table: str, says: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(table)
    with pytest.raises(FitcalcError, match=says) as error:
        market(Buying(prices=path))
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Buying(cloud="aws"), "rtx_4090"),
        (Buying(region="mars"), "region"),
        (Buying(terms=Terms.RESERVED), "reserved"),
    ],
)
def test_what_is_not_on_sale_is_refused(asked: Buying, says: str) -> None:
    with pytest.raises(FitcalcError, match=says):
        plan("llama-3.1-8b", CHAT, gpus=["4090"], buying=asked)


def test_spot_is_never_dearer_than_on_demand() -> None:
    spot, whole = market(Buying(terms=Terms.SPOT)), market(Buying())
    for gpu in gpu_ids():
        for offer in spot.of(gpu):
            same = [o for o in whole.of(gpu) if o.instance == offer.instance]
            assert offer.usd_per_hour <= same[0].usd_per_hour


def test_filters_keep_what_they_name() -> None:
    sold = market(Buying(cloud="azure", region="eastus2"))
    assert set(sold.by_gpu) == {"h200_sxm", "mi300x"}
    anywhere = market(Buying(cloud="nebius", region="us-central1"))
    assert set(anywhere.by_gpu) == set(market(Buying(cloud="nebius")).by_gpu)


@given(st.lists(st.tuples(SIZES, AMOUNT), min_size=1, max_size=6), SIZES, st.integers(1, 40),
       st.floats(0.1, 1.0))  # fmt: skip
def test_a_cheaper_table_never_raises_the_bill(
    rows: list[tuple[int, float]], gpus: int, replicas: int, factor: float
) -> None:
    base = market(Buying()).of("h100_sxm")[0]
    dear = [replace(base, gpus=n, usd_per_hour=p, usd_per_gpu_hour=p / n) for n, p in rows]
    cheap = [
        replace(o, usd_per_hour=p * factor, usd_per_gpu_hour=p * factor / o.gpus)
        for o, (_, p) in zip(dear[::2], rows[::2], strict=True)
    ] + dear[1::2]
    costs = []
    for some in (dear, cheap):
        found = bill("h100_sxm", gpus, replicas, Market({"h100_sxm": cheapest_first(some)}))
        assert found is not None
        costs.append(found.usd_per_hour)
    assert costs[1] <= costs[0] * (1 + 1e-12)


@given(st.floats(0.5, 19.0), st.floats(0.1, 1.0), st.floats(1.0, 2.9), st.floats(0.0, 1.0))
def test_owned_cost_falls_with_years_and_rises_with_power(
    years: float, more: float, pue: float, tariff: float
) -> None:
    one = SERVER.replace(years=years, pue=pue, tariff_per_kwh=tariff)
    assert owned_offer(one.replace(years=years + more)).usd_per_hour < owned_offer(one).usd_per_hour
    assert owned_offer(one.replace(pue=pue + 0.1)).usd_per_hour >= owned_offer(one).usd_per_hour


@given(st.floats(0.1, 1e3), st.floats(0.01, 10.0), st.floats(1e-6, 1.0), st.floats(0.1, 10.0))
def test_the_break_even_scales_with_the_price(
    hourly: float, each: float, request: float, factor: float
) -> None:
    def rate(scale: float) -> float | None:
        return break_even_qps(lambda n: n * hourly * scale, each * scale, request, 8)

    once, scaled = rate(1.0), rate(factor)
    assert (once is None) == (scaled is None) or once == pytest.approx(each, rel=1e-9)
    if once is not None and scaled is not None:
        assert scaled == pytest.approx(once * factor, rel=1e-9)
        assert once <= each * (1 + 1e-9)
        assert once * request * 3600 == pytest.approx(hourly)
