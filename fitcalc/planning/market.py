"""What is on sale: the offers that a way of buying leaves, by GPU type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from fitcalc.answers import Terms
from fitcalc.catalog.gpu import Gpu, load_gpu
from fitcalc.catalog.price import ANY_REGION, Offer, all_offers, cheapest_first
from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.buying import Buying, OwnedServer
from fitcalc.inputs.price_file import PriceTable, read_prices
from fitcalc.units import HOURS_PER_YEAR, KILO


@dataclass(frozen=True, slots=True)
class Currency:
    """The money that prices were given in, and what one unit of it is worth. [USD]"""

    code: str = "USD"
    usd: float = 1.0


@dataclass(frozen=True, slots=True)
class Market:
    """The offers of each GPU type, the cheapest per GPU first."""

    by_gpu: Mapping[str, tuple[Offer, ...]] = field(hash=False)
    currency: Currency = Currency()

    def of(self, gpu: str) -> tuple[Offer, ...]:
        """Return the offers of a GPU type, by table id."""
        return self.by_gpu.get(gpu, ())

    def with_price(self, gpu: str, factor: float) -> Market:
        """Return the same with the prices of one GPU type scaled. [1]"""
        offers = tuple(
            replace(
                offer,
                usd_per_hour=offer.usd_per_hour * factor,
                usd_per_gpu_hour=offer.usd_per_gpu_hour * factor,
            )
            for offer in self.of(gpu)
        )
        return replace(self, by_gpu={**self.by_gpu, gpu: offers})


def market(buying: Buying) -> Market:
    """Return what may be bought.

    Raises:
        FitcalcError: a cloud or region is unknown, nothing is on sale so, or the user's own table
            makes no sense.
    """
    table = None if buying.prices is None else read_prices(buying.prices)
    priced = _with_terms(buying, table)
    found = _named(priced, buying)
    by_gpu: dict[str, list[Offer]] = {}
    for offer in found:
        by_gpu.setdefault(offer.gpu, []).append(offer)
    currency = Currency() if table is None else Currency(table.currency, table.usd)
    return Market({gpu: cheapest_first(some) for gpu, some in by_gpu.items()}, currency)


@cache
def on_demand() -> Market:
    """Return what the shipped table sells on demand, anywhere."""
    return market(Buying())


def _with_terms(buying: Buying, table: PriceTable | None) -> list[Offer]:
    """Return the offers of the terms asked for."""
    if buying.terms is Terms.OWNED:
        servers = [(server, 1.0, "") for server in buying.owned]
        if table is not None:
            date = table.checked.isoformat()
            servers += [(server, table.usd, date) for server in table.servers]
        if not servers:
            raise InvalidValue("terms", "owned", "the price table has no [[servers]]")
        return [owned_offer(*one) for one in servers]
    if table is not None:
        found = [o for o in table.rented(str(buying.prices)) if o.terms is buying.terms]
    elif buying.terms is Terms.SPOT:
        found = [spot for o in all_offers() if (spot := o.as_spot()) is not None]
    else:
        found = [o for o in all_offers() if o.terms is buying.terms]
    if not found:
        fix = "no such price is in the tables; give your own table with --prices"
        raise InvalidValue("terms", buying.terms.value, fix)
    return found


def _named(found: Iterable[Offer], buying: Buying) -> list[Offer]:
    """Return the offers of the cloud and region asked for."""
    some = list(found)
    if buying.cloud is not None:
        known = sorted({offer.cloud for offer in some})
        if buying.cloud not in known:
            raise UnknownName("cloud", buying.cloud, known, f"use one of {', '.join(known)}.")
        some = [offer for offer in some if offer.cloud == buying.cloud]
    if buying.region is not None:
        regions = {part for offer in some for part in offer.regions} - {ANY_REGION}
        some = [offer for offer in some if offer.sold_in(buying.region)]
        if buying.region not in regions:
            hint = f"use one of {', '.join(sorted(regions))}."
            raise UnknownName("region", buying.region, regions, hint)
    return some


def owned_offer(server: OwnedServer, usd: float = 1.0, checked: str = "") -> Offer:
    """Return what an owned server costs an hour, as an offer.

    ``price / (years * 8760) + (gpus * gpu_power + host_power) / 1000 * pue * tariff + other``

    Args:
        server: The server, in a currency of the user's.
        usd: Worth of one unit of it. [USD]
        checked: When its prices were true.

    Raises:
        InvalidValue: the tables have no power of its GPU, and none is given.
    """
    card = load_gpu(server.gpu)
    power_kw = (server.gpus * _gpu_power_w(server, card) + server.host_power_w) / KILO
    hourly = usd * (
        server.price / (server.years * HOURS_PER_YEAR)
        + power_kw * server.pue * server.tariff_per_kwh
        + server.other_per_hour
    )
    return Offer(
        cloud="owned",
        instance=f"{server.gpus}-GPU server",
        gpu=card.id,
        gpus=server.gpus,
        usd_per_hour=hourly,
        usd_per_gpu_hour=hourly / server.gpus,
        spot_usd_per_gpu_hour=None,
        region=f"written off in {server.years:g} years",
        checked=checked or "your figures",
        source="the user's own figures",
        terms=Terms.OWNED,
    )


def _gpu_power_w(server: OwnedServer, card: Gpu) -> float:
    """Return what one GPU draws: as given, else the nameplate. [W]"""
    power = server.gpu_power_w or card.power_w
    if power is None:
        raise InvalidValue("gpu_power_w", None, f"the tables have no power of {card.id}; give it")
    return power
