"""Links between GPUs and between nodes: ``hardware_db/links.toml``, one way and per GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import cast

from fitcalc.catalog.tables import Figure, Toml, figure, read_toml
from fitcalc.errors import InvalidValue, TableError, UnknownName


class LinkKind(StrEnum):
    """The family of a link between GPUs."""

    NVLINK = "nvlink"
    XGMI = "xgmi"
    PCIE = "pcie"
    ROCE = "roce"
    INFINIBAND = "infiniband"


@dataclass(frozen=True, slots=True)
class Link:
    """How GPUs reach each other: bandwidth of one GPU, one way [B/s], over how many GPUs."""

    kind: LinkKind
    bandwidth: float
    domain: int


def inter_node_link() -> Link:
    """Return the network between nodes that plans assume.

    Examples:
        >>> inter_node_link().bandwidth
        50000000000.0
    """
    return parse_link(link_table(), inter_node_name(), "links.inter_node")


def named_link(name: str | None) -> Link:
    """Return a link by its name; ``None`` = the network between nodes that plans assume.

    Raises:
        UnknownName: the table has no such link.

    Examples:
        >>> named_link("pcie5_x16").bandwidth
        63000000000.0
    """
    if name is None:
        return inter_node_link()
    links = link_table()
    known = cast("Mapping[str, Toml]", links["links"])
    if name not in known:
        raise UnknownName("link", name, known, f"known are {', '.join(known)}")
    return parse_link(links, name, "links")


def inter_node_name() -> str:
    """Name the network between nodes that plans assume."""
    return str(link_table()["inter_node"])


@cache
def link_table() -> Toml:
    """Return the table of links as it stands in the file."""
    return read_toml("hardware_db", "links.toml")


def parse_link(
    links: Toml,
    key: str,
    where: str,
    *,
    bandwidth: float | None = None,
    domain: int | None = None,
) -> Link:
    """Read one kind of link; a GPU's own bandwidth [B/s] and domain go before the kind's.

    Raises:
        TableError: the table has no such kind, or the kind no figure that is needed.
    """
    kinds = cast("Mapping[str, Toml]", links["links"])
    if key not in kinds:
        raise TableError(f"{where} names the link {key!r}, which links.toml does not have.")
    row, sources = kinds[key], cast("Toml", links["sources"])
    if bandwidth is None:
        at = f"links.{key}.bandwidth"
        bandwidth = base_value(figure(row.get("bandwidth"), at, sources), at)
    if domain is None:
        domain = 1 if "domain" not in row else _count(row["domain"], f"links.{key}", sources)
    return Link(LinkKind(str(row["kind"])), bandwidth, domain)


def base_value(row: Figure, where: str) -> float:
    """Return a table's figure in base units.

    Raises:
        TableError: its unit is not one that fitcalc knows.
    """
    try:
        return row.base
    except InvalidValue as error:
        raise TableError(f"{where}: {error}") from None


def _count(row: object, where: str, sources: Toml) -> int:
    return int(figure(row, f"{where}.domain", sources).value)
