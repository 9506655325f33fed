"""The options about money: how hardware is bought, and how busy it will be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcalc.answers import Terms
from fitcalc.cli.options import known
from fitcalc.inputs.buying import Buying
from fitcalc.units import parse_share

_MONEY = "Money"


def read_buying(
    *,
    terms: Annotated[
        Terms | None,
        typer.Option(help="How it is paid for (default on_demand).", rich_help_panel=_MONEY),
    ] = None,
    cloud: Annotated[
        str | None,
        typer.Option(help="Only this cloud (default the cheapest).", rich_help_panel=_MONEY),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Only this region.", rich_help_panel=_MONEY)
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="Your own prices, a TOML file (docs/money.md).", rich_help_panel=_MONEY),
    ] = None,
    mean_share: Annotated[
        str | None,
        typer.Option(
            help="The day's mean rate over the rate asked for, such as 40% (default 100%).",
            rich_help_panel=_MONEY,
        ),
    ] = None,
) -> Buying:
    """Read the options about money."""
    given = {
        "terms": terms,
        "cloud": cloud,
        "region": region,
        "prices": prices,
        "mean_share": None if mean_share is None else parse_share(mean_share, "mean_share"),
    }
    return Buying(**known(given))
