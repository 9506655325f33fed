"""Prices and instances: dated, cited, of known GPUs; the cheapest fitting offer is found."""

from __future__ import annotations

import os
import re
from csv import DictReader
from pathlib import Path

import pytest

from fitcalc.catalog.gpu import gpu_ids, load_gpu
from fitcalc.catalog.price import cheapest, clouds, instances, offers, parse_offer
from fitcalc.catalog.tables import read_toml
from fitcalc.errors import TableError, UnknownName

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).resolve().parents[3] / "shared"))
EVERY_OFFER = [offer for gpu_id in gpu_ids() for offer in offers(gpu_id)]


@pytest.mark.parametrize(
    ("cloud", "instance", "gpu", "usd_per_hour"),
    [  # the sources that prices.toml names, as of the date it names
        ("aws", "p5.48xlarge", "h100_sxm", 55.04),
        ("aws", "p5en.48xlarge", "h200_sxm", 63.296),
        ("azure", "Standard_ND96isr_H100_v5", "h100_sxm", 98.32),
        ("gcp", "g2-standard-4", "l4", 0.7068),
        ("lambda", "gpu_8x_h100_sxm5", "h100_sxm", 31.92),
    ],
)
def test_prices_are_those_of_the_sources(
    cloud: str, instance: str, gpu: str, usd_per_hour: float
) -> None:
    found = {offer.instance: offer for offer in offers(gpu, cloud)}
    assert found[instance].usd_per_hour == pytest.approx(usd_per_hour, rel=1e-4)


def test_offers_are_dated_cited_and_plausible() -> None:
    assert len(EVERY_OFFER) > 50
    for offer in EVERY_OFFER:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d|undated.*", offer.checked), offer
        assert offer.source
        assert offer.region
        assert 1 <= offer.gpus <= 8
        assert 0.3 < offer.usd_per_gpu_hour < 30
        assert abs(offer.usd_per_gpu_hour * offer.gpus - offer.usd_per_hour) < 1e-9
        spot = offer.spot_usd_per_gpu_hour
        assert spot is None or spot < offer.usd_per_gpu_hour


def test_no_offer_stands_twice() -> None:
    keys = [(offer.cloud, offer.instance) for offer in EVERY_OFFER]
    assert len(keys) == len(set(keys))


def test_every_row_of_the_table_is_an_offer_of_a_known_gpu() -> None:
    table = read_toml("hardware_db", "prices.toml")["clouds"]
    assert isinstance(table, dict)
    rows = [row for block in table.values() for row in block["offers"]]
    assert {row["gpu"] for row in rows} <= set(gpu_ids())
    assert len(rows) == len(EVERY_OFFER)
    assert set(table) == set(clouds())


def test_offers_come_cheapest_first_and_of_the_cloud_asked_for() -> None:
    prices = [offer.usd_per_gpu_hour for offer in offers("h100")]
    assert prices == sorted(prices)
    assert {offer.cloud for offer in offers("h100", "aws")} == {"aws"}
    assert offers("rtx 4090") == ()
    with pytest.raises(UnknownName, match="aws"):
        offers("h100", "awz")


@pytest.mark.parametrize(
    ("gpu", "gpus", "cloud", "instance"),
    [
        ("h100", 1, None, "gpu-h100-sxm_1gpu"),
        ("h100", 8, None, "gpu-h100-sxm_8gpu"),
        ("h100", 2, "lambda", "gpu_8x_h100_sxm5"),
        ("h100", 2, "aws", "p5.48xlarge"),
        ("a100-40", 1, "gcp", "a2-highgpu-1g"),
        ("gb200", 8, None, "Standard_ND128isr_NDR_GB200_v6"),
    ],
)
def test_the_cheapest_offer_holds_the_replica(
    gpu: str, gpus: int, cloud: str | None, instance: str
) -> None:
    offer = cheapest(gpu, gpus, cloud)
    assert offer is not None
    assert offer.instance == instance


@pytest.mark.parametrize(
    ("gpu", "gpus", "cloud"),
    [("rtx_4090", 1, None), ("h100_pcie", 2, None), ("h100", 16, None), ("h100_nvl", 4, None),
     ("l4", 8, "azure")],
)  # fmt: skip
def test_no_offer_is_invented(gpu: str, gpus: int, cloud: str | None) -> None:
    assert cheapest(gpu, gpus, cloud) is None


@pytest.mark.parametrize(
    "row",
    [
        {"instance": "x", "gpu": "l4", "gpus": 1},
        {"instance": "x", "gpu": "l4", "gpus": 0, "usd_per_hour": 1.0},
        {"instance": "x", "gpu": "l4", "gpus": 1, "usd_per_hour": -1.0},
        {"instance": "x", "gpu": "l4", "gpus": 1, "usd_per_hour": float("nan")},
    ],
)
def test_a_broken_offer_is_refused(row: dict[str, object]) -> None:
    block = {"title": "a page", "checked": "2026-07-20", "region": "here"}
    with pytest.raises(TableError):
        parse_offer("aws", block, row)


def test_an_undated_cloud_is_refused() -> None:
    row = {"instance": "x", "gpu": "l4", "gpus": 1, "usd_per_hour": 1.0}
    with pytest.raises(TableError, match="checked"):
        parse_offer("aws", {"title": "a page", "region": "here"}, row)


def test_instances_agree_with_offers_and_gpus() -> None:
    shapes = {(shape.cloud, shape.instance): shape for gpu in gpu_ids() for shape in instances(gpu)}
    assert len(shapes) > 50
    shared = 0
    for offer in EVERY_OFFER:
        shape = shapes.get((offer.cloud, offer.instance))
        if shape is not None:
            shared += 1
            assert (shape.gpu, shape.gpus) == (offer.gpu, offer.gpus)
    assert shared > 20
    for shape in shapes.values():
        assert shape.confidence in {"high", "medium", "low"}
        big = shape.instance == "a2-megagpu-16g"  # GCP joins two boards
        assert shape.gpus <= load_gpu(shape.gpu).gpus_per_node or big, shape


def test_untrusted_rows_of_the_research_are_left_out() -> None:
    path = SHARED / "prices" / "gpu_prices.csv"
    if not path.is_file():
        pytest.skip("the research tables are not beside this checkout")
    with path.open(encoding="utf-8") as file:
        rows = list(DictReader(file))
    trusted = {(row["cloud"], row["instance"]) for row in rows if "LOW TRUST" not in row["note"]}
    assert {(offer.cloud, offer.instance) for offer in EVERY_OFFER} <= trusted
