"""Options about who asks when: a trace, a rate, clients, a mix of classes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.mixture import Mix, TrafficClass
from fitcalc.inputs.ramp import RampUp
from fitcalc.inputs.rates import SHAPES, Rates, read_lengths
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import parse_rate

_TRAFFIC = "Traffic"
_MOST_DRAWN = 1_000_000
"""Requests drawn of a day where nobody says how many. [1]"""

_Trace = Annotated[
    Path | None,
    typer.Option(
        help="File of recorded requests (CSV or JSONL, gzipped or not).", rich_help_panel=_TRAFFIC
    ),
]
_SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Pass over rows that make no sense.", rich_help_panel=_TRAFFIC),
]
_Rates = Annotated[
    str | None,
    typer.Option(
        help="Rate over time: day or week (with mean --qps), or a CSV of time,rate.",
        rich_help_panel=_TRAFFIC,
    ),
]
_Lengths = Annotated[
    Path | None,
    typer.Option(
        help="Histograms of tokens: CSV of kind,tokens_bucket_upper,probability.",
        rich_help_panel=_TRAFFIC,
    ),
]
_MixFile = Annotated[
    Path | None,
    typer.Option(
        help="TOML of classes that come together: [[class]] name, qps, isl, osl, priority.",
        rich_help_panel=_TRAFFIC,
    ),
]
_Qps = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Requests a second; inf = all at once. With --concurrency: at most.",
        rich_help_panel=_TRAFFIC,
    ),
]
_Concurrency = Annotated[
    int | None,
    typer.Option(min=1, help="Requests under way at most; clients wait.", rich_help_panel=_TRAFFIC),
]
_Strategy = Annotated[
    str | None,
    typer.Option(help="linear or exponential: let the rate rise.", rich_help_panel=_TRAFFIC),
]
_StartRps = Annotated[
    float | None, typer.Option(help="Rate of the first request.", rich_help_panel=_TRAFFIC)
]
_EndRps = Annotated[
    float | None, typer.Option(help="Rate of the last request.", rich_help_panel=_TRAFFIC)
]
_NumWarmups = Annotated[
    int,
    typer.Option(
        min=0,
        help="Copies of the first request served before, uncounted.",
        rich_help_panel=_TRAFFIC,
    ),
]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The requests, and how they are sent.

    Attributes:
        load: Requests to draw, or as they are.
        max_concurrency: Of these under way at most; ``None`` = any, or as the traffic says.
        num_warmups: Copies of the first one served before.
    """

    load: Traffic | Trace | Mix
    max_concurrency: int | None
    num_warmups: int


def read_arrivals(
    *,
    trace: _Trace = None,
    skip_bad: _SkipBad = False,
    mix: _MixFile = None,
    rates: _Rates = None,
    lengths: _Lengths = None,
    ctx: opt.Ctx = None,
    isl: opt.Isl = None,
    osl: opt.Osl = None,
    qps: _Qps = None,
    concurrency: _Concurrency = None,
    num_requests: opt.NumRequests = None,
    burstiness: opt.Burstiness = None,
    prefix_hit: opt.PrefixHit = None,
    prefix_tokens: opt.PrefixTokens = None,
    num_prefixes: opt.NumPrefixes = None,
    ramp_up_strategy: _Strategy = None,
    ramp_up_start_rps: _StartRps = None,
    ramp_up_end_rps: _EndRps = None,
    num_warmups: _NumWarmups = 0,
) -> Arrivals:
    """Read a trace, a mix, or the options about one traffic.

    Raises:
        InvalidValue: options that contradict each other, or make no sense.
    """
    prefix = {
        "prefix_hit": prefix_hit, "prefix_tokens": prefix_tokens, "num_prefixes": num_prefixes,
    }  # fmt: skip
    drawn = {
        **prefix,
        "rates": rates, "lengths": lengths, "ctx": ctx, "isl": isl, "osl": osl, "qps": qps,
        "burstiness": burstiness, "ramp_up_strategy": ramp_up_strategy,
        "ramp_up_start_rps": ramp_up_start_rps, "ramp_up_end_rps": ramp_up_end_rps,
    }  # fmt: skip
    said = list(opt.known(drawn))
    if trace is not None:
        others = said + list(opt.known({"mix": mix, "num_requests": num_requests}))
        _alone("trace", trace, others)
        return Arrivals(Trace.read(trace, skip_bad=skip_bad), concurrency, num_warmups)
    if mix is not None:
        from fitcalc.inputs.mix_file import read_mix

        _alone("mix", mix, said)
        return Arrivals(read_mix(mix, num_requests=num_requests), concurrency, num_warmups)
    if lengths is not None:
        _alone("lengths", lengths, [name for name in ("ctx", "isl", "osl") if name in said])
    asked = None if qps is None else inf if qps == "inf" else parse_rate(qps, "qps")
    shape = _shape(rates, asked, (ramp_up_strategy, ramp_up_start_rps, ramp_up_end_rps))
    if asked == inf:
        asked, concurrency = None, concurrency or _everybody(num_requests)
    rate = asked if shape is None else 1.0
    clients = concurrency if rate is None else None
    if lengths is None:
        length = opt.read_length(ctx=ctx, isl=isl, osl=osl)
        kinds = Lengths.fixed(length.isl), Lengths.fixed(length.osl)
    else:
        kinds = read_lengths(lengths)
    given = {
        "qps": rate, "concurrency": clients, "num_requests": num_requests,
        "burstiness": burstiness, **prefix,
    }  # fmt: skip
    traffic = Traffic(isl=kinds[0], osl=kinds[1], **opt.known(given))
    most = concurrency if clients is None else None
    if shape is None:
        return Arrivals(traffic, most, num_warmups)
    count = num_requests
    if count is None and isinstance(shape, Rates):  # a whole day
        count = max(1, min(round(shape.mean_per_s * shape.end_s), _MOST_DRAWN))
    return Arrivals(Mix((TrafficClass(traffic, shape=shape),), count), most, num_warmups)


def _alone(option: str, value: object, others: list[str]) -> None:
    if others:
        raise InvalidValue(option, value, f"give it without {', '.join(others)}")


def _shape(
    rates: str | None, qps: float | None, ramp: tuple[str | None, float | None, float | None]
) -> Rates | RampUp | None:
    """Read a rate that changes over time, or from request to request."""
    if any(part is not None for part in ramp):
        if rates is not None or qps is not None:
            raise InvalidValue("ramp_up_strategy", ramp[0], "give it without rates and qps")
        names = ("strategy", "start_rps", "end_rps")
        for name, part in zip(names, ramp, strict=True):
            if part is None:
                raise InvalidValue(f"ramp_up_{name}", None, "give strategy, start and end together")
        return RampUp(**dict(zip(names, ramp, strict=True)))
    if rates is None:
        return None
    if qps is None and rates in SHAPES:
        raise InvalidValue("qps", None, f"give the mean rate of the {rates}")
    if qps is not None and not 0 < qps < inf:
        raise InvalidValue("qps", qps, "give a finite mean rate beside rates")
    shape = Rates.named(rates)
    return shape if qps is None else shape.scaled(qps)


def _everybody(num_requests: int | None) -> int:
    """As many clients as there are requests: all are sent at once."""
    if num_requests is None:
        raise InvalidValue("qps", inf, "give num_requests, all of which are sent at once")
    return num_requests
