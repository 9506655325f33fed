"""Options about servers: how many, how they differ, when they fail, prefill and decode apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated

import typer

from fitcalc.cli.engine import engine_field
from fitcalc.cli.options import known
from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.fleet import Outage, Pools, Servers
from fitcalc.units import SECONDS_PER_HOUR

_FLEET = "Fleet"
_FORM = "COUNT[,gpu=NAME][,SETTING=VALUE]"
_OUTAGE = re.compile(r"(\d+)@(\d+(?:\.\d+)?)([smh])-(?:(\d+(?:\.\d+)?)([smh]))?")
_SECONDS = {"s": 1.0, "m": SECONDS_PER_HOUR / 60.0, "h": SECONDS_PER_HOUR}
_EXAMPLE = "write a number of servers, then what differs, such as 2,gpu=l40s,max_num_seqs=64"

_Replicas = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Servers behind the router (default 1); again for others: {_FORM}.",
        rich_help_panel=_FLEET,
    ),
]
_Router = Annotated[
    str,
    typer.Option(
        help="round_robin, random, least_requests, least_kv_usage, prefix or session.",
        rich_help_panel=_FLEET,
    ),
]
_Outages = Annotated[
    list[str] | None,
    typer.Option(
        help="A server that fails and returns: 2@60s-120s, or 2@60s- for good; again for others.",
        rich_help_panel=_FLEET,
    ),
]
_Prefill = Annotated[
    list[str] | None,
    typer.Option(help=f"Servers that only prefill: {_FORM}.", rich_help_panel=_FLEET),
]
_Decode = Annotated[
    list[str] | None,
    typer.Option(help=f"Servers that only decode: {_FORM}.", rich_help_panel=_FLEET),
]
_Link = Annotated[
    str | None,
    typer.Option(
        help="Link that carries the KV cache between them, such as infiniband_400g or pcie5_x16.",
        rich_help_panel=_FLEET,
    ),
]


@dataclass(frozen=True, slots=True)
class FleetWords:
    """The options, before the engine's settings are known.

    Attributes:
        router: How requests are spread.
        outages: Servers that fail.
    """

    router: str
    outages: tuple[Outage, ...]
    _replicas: Sequence[str]
    _prefill: Sequence[str]
    _decode: Sequence[str]
    _kv_link: str | None

    def replicas(self, engine: EngineArgs) -> tuple[Servers, ...] | int:
        """Return the servers; what a group leaves open is ``engine``'s.

        Raises:
            InvalidValue: a group that makes no sense.
        """
        return _groups("replicas", self._replicas, engine) if self._replicas else 1

    def pools(self, engine: EngineArgs) -> Pools | None:
        """Return the two pools, where either is asked for.

        Raises:
            InvalidValue: a group that makes no sense, one pool alone, or a link for none.
        """
        both = (("prefill_replicas", self._prefill), ("decode_replicas", self._decode))
        missing = [name for name, words in both if not words]
        if len(missing) == len(both):
            if self._kv_link is not None:
                fix = "give it with prefill_replicas and decode_replicas"
                raise InvalidValue("kv_link", self._kv_link, fix)
            return None
        if missing:
            raise InvalidValue(missing[0], None, "give both pools their servers")
        prefill, decode = (_groups(name, words, engine) for name, words in both)
        return Pools(prefill, decode, self._kv_link)


def read_fleet(
    *,
    replicas: _Replicas = None,
    router: _Router = "round_robin",
    outage: _Outages = None,
    prefill_replicas: _Prefill = None,
    decode_replicas: _Decode = None,
    kv_link: _Link = None,
) -> FleetWords:
    """Read the options about servers.

    Raises:
        InvalidValue: an outage that makes no sense.
    """
    outages = tuple(_outage(text) for text in outage or ())
    return FleetWords(
        router, outages, replicas or (), prefill_replicas or (), decode_replicas or (), kv_link
    )


def _groups(option: str, words: Sequence[str], engine: EngineArgs) -> tuple[Servers, ...]:
    return tuple(_group(option, text, engine) for text in words)


def _group(option: str, text: str, engine: EngineArgs) -> Servers:
    """Read ``2,gpu=l40s,max_num_seqs=64``."""
    number, *parts = (part.strip() for part in text.split(","))
    if not number.isdecimal() or int(number) < 1:
        raise InvalidValue(option, text, _EXAMPLE)
    given: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise InvalidValue(option, text, _EXAMPLE)
        given[name.strip().replace("-", "_")] = value.strip()
    gpu = given.pop("gpu", None)
    for name in given:
        if name not in EngineArgs.model_fields:
            raise UnknownName("setting", name, EngineArgs.model_fields)
    changes = {name: engine_field(name, value) for name, value in given.items()}
    return Servers(int(number), gpu, engine.replace(**known(changes)))


def _outage(text: str) -> Outage:
    """Read ``2@60s-120s``."""
    found = _OUTAGE.fullmatch(text.strip())
    if found is None:
        fix = "write server@start-end, such as 2@60s-120s or 0@5m-"
        raise InvalidValue("outage", text, fix)
    which, start, unit, end, end_unit = found.groups()
    end_s = inf if end is None else float(end) * _SECONDS[end_unit]
    return Outage(int(which), float(start) * _SECONDS[unit], end_s)
