"""Prices: dated offers of clouds, on demand and spot, and the shapes of their nodes.

``hardware_db/prices.toml`` holds what a public source said on a date; a GPU without a line there
has no offer. Instances are bought whole: ``gpus`` says how many GPUs come together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from fitcalc.answers import Terms
from fitcalc.catalog.gpu import load_gpu, resolve_gpu
from fitcalc.catalog.tables import Toml, read_toml
from fitcalc.errors import TableError, UnknownName
from fitcalc.units import is_finite_positive

ANY_REGION = "all"
"""The region of an offer that is the same everywhere."""
_PRICE_DIGITS = 4
"""Prices per GPU that agree to a hundredth of a cent are equal: an instance's price is rounded."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One instance at one cloud: price of the whole and of one GPU [USD/h], where and when seen.

    ``region`` names one region or several, with commas; ``all`` is any. ``months`` is how long the
    buyer is bound, 0 where not.
    """

    cloud: str
    instance: str
    gpu: str
    gpus: int
    usd_per_hour: float
    usd_per_gpu_hour: float
    spot_usd_per_gpu_hour: float | None
    region: str
    checked: str
    source: str
    terms: Terms = Terms.ON_DEMAND
    months: int = 0

    def sold_in(self, region: str | None) -> bool:
        """Whether a region has it; ``None`` asks for any."""
        return region is None or not {region, ANY_REGION}.isdisjoint(self.regions)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions it is sold in."""
        return tuple(part.strip() for part in self.region.split(","))

    def as_spot(self) -> Offer | None:
        """Return the same instance at its spot price, or ``None`` where no source has one."""
        each = self.spot_usd_per_gpu_hour
        if each is None:
            return None
        whole = each * self.gpus
        return replace(self, usd_per_hour=whole, usd_per_gpu_hour=each, terms=Terms.SPOT)


@dataclass(frozen=True, slots=True)
class Instance:
    """One shape of node at one cloud; ``network_gbit_s`` leaves the node one way [Gbit/s]."""

    cloud: str
    instance: str
    gpu: str
    gpus: int
    network_gbit_s: float | None
    confidence: str
    source: str


def clouds() -> tuple[str, ...]:
    """Return the clouds with prices, sorted."""
    return tuple(sorted({offer.cloud for offer in _offers()}))


def regions() -> tuple[str, ...]:
    """Return the regions that offers name, sorted."""
    found = {region for offer in _offers() for region in offer.regions}
    return tuple(sorted(found - {ANY_REGION}))


def offers(gpu: str, cloud: str | None = None) -> tuple[Offer, ...]:
    """Return the offers of a GPU, the cheapest per GPU first.

    Raises:
        UnknownName: no such GPU, or no prices of that cloud.

    Examples:
        >>> offers("h200", cloud="aws")[0].instance
        'p5en.48xlarge'
    """
    gpu_id = resolve_gpu(gpu)
    if cloud is not None and cloud not in clouds():
        raise UnknownName("cloud", cloud, clouds(), f"use one of {', '.join(clouds())}.")
    found = (o for o in _offers() if o.gpu == gpu_id and cloud in {None, o.cloud})
    return cheapest_first(found)


def cheapest(gpu: str, gpus: int, cloud: str | None = None) -> Offer | None:
    """Return the offer with the lowest price per GPU that can hold a replica of ``gpus``.

    Its instance holds them all, or is one node of a rack whose link spans nodes (GB200 NVL72).
    At equal prices the smaller instance wins. ``None`` where no offer does.

    Examples:
        >>> cheapest("h100", 8, cloud="aws").instance
        'p5.48xlarge'
    """
    card = load_gpu(gpu)
    together = min(gpus, card.gpus_per_node) if gpus <= card.link.domain else gpus
    return next((o for o in offers(gpu, cloud) if o.gpus >= together), None)


def instances(gpu: str) -> tuple[Instance, ...]:
    """Return the known shapes of nodes that hold a GPU."""
    gpu_id = resolve_gpu(gpu)
    return tuple(shape for shape in _instances() if shape.gpu == gpu_id)


def all_offers() -> tuple[Offer, ...]:
    """Return every offer of the tables, on demand."""
    return _offers()


def cheapest_first(found: Iterable[Offer]) -> tuple[Offer, ...]:
    """Sort offers by the price of a GPU; at equal prices the smaller instance comes first."""
    return tuple(sorted(found, key=_by_price))


def _by_price(offer: Offer) -> tuple[float, int, str, str]:
    price = round(offer.usd_per_gpu_hour, _PRICE_DIGITS)
    return price, offer.gpus, offer.cloud, offer.instance


@cache
def _offers() -> tuple[Offer, ...]:
    table = cast("Mapping[str, Toml]", read_toml("hardware_db", "prices.toml")["clouds"])
    return tuple(
        parse_offer(cloud, block, row)
        for cloud, block in table.items()
        for row in cast("Sequence[Toml]", block["offers"])
    )


def parse_offer(cloud: str, block: Toml, row: Toml) -> Offer:
    """Turn one row of a cloud's block into an ``Offer``.

    Raises:
        TableError: the row or its block lacks a figure, a date or a source.
    """
    where = f"prices.{cloud}.{row.get('instance', '?')}"
    needed = {"instance", "gpu", "gpus", "usd_per_hour"} - set(row)
    needed |= {"title", "checked", "region"} - set(block)
    if needed:
        raise TableError(f"{where} has no {', '.join(sorted(needed))}: a price is dated and cited.")
    gpus, price = cast("int", row["gpus"]), float(cast("float", row["usd_per_hour"]))
    if gpus < 1 or not is_finite_positive(price):
        raise TableError(f"{where} asks {price} USD/h for {gpus} GPUs; both must be above 0.")
    spot = row.get("spot_usd_per_gpu_hour")
    return Offer(
        cloud=cloud,
        instance=str(row["instance"]),
        gpu=str(row["gpu"]),
        gpus=gpus,
        usd_per_hour=price,
        usd_per_gpu_hour=price / gpus,
        spot_usd_per_gpu_hour=None if spot is None else float(cast("float", spot)),
        region=str(row.get("region", block["region"])),
        checked=str(block["checked"]),
        source=str(block["title"]),
    )


@cache
def _instances() -> tuple[Instance, ...]:
    table = read_toml("hardware_db", "instances.toml")
    titles = {k: str(s["title"]) for k, s in cast("Mapping[str, Toml]", table["sources"]).items()}
    return tuple(
        Instance(
            cloud=cloud,
            instance=str(row["instance"]),
            gpu=str(row["gpu"]),
            gpus=cast("int", row["gpus"]),
            network_gbit_s=cast("float | None", row.get("network")),
            confidence=str(row["confidence"]),
            source=titles[str(row["source"])],
        )
        for cloud, rows in table.items()
        if cloud != "sources"
        for row in cast("Sequence[Toml]", rows)
    )
