"""What a new server's start is made of: ``hardware_db/startup.toml``."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast

from fitcalc.catalog.tables import Toml, figure, read_toml


class Startup(NamedTuple):
    """Figures of a start.

    Attributes:
        node_s: A GPU node joins the cluster. [s]
        boot_s: Imports and worker. [s]
        storage_bytes_per_s: Weights, from storage into the cards. [B/s]
        engine_layer_s: Compile, profile and capture graphs, for each layer. [s]
    """

    node_s: float
    boot_s: float
    storage_bytes_per_s: float
    engine_layer_s: float


@cache
def startup() -> Startup:
    """Read the figures."""
    table = read_toml("hardware_db", "startup.toml")
    sources = cast("Toml", table["sources"])
    names = ("node", "boot", "storage", "engine_layer")
    return Startup(*(figure(table[name], f"startup.{name}", sources).base for name in names))
