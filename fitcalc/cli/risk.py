"""Options about what a plan must survive, and about servers that follow the day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.errors import InvalidValue
from fitcalc.inputs.rates import SHAPES, Rates
from fitcalc.inputs.risk import Risk, parse_growth
from fitcalc.inputs.scaling import Scaling
from fitcalc.units import MILLI, parse_milliseconds

if TYPE_CHECKING:
    from fitcalc.inputs.mixture import Mix

_RISK, _DAY, _FEATURES = "Risk", "Day", "Features"


def read_risk(
    *,
    spare: Annotated[
        int | None,
        typer.Option(
            help="Servers that may be lost while the promise still holds.", rich_help_panel=_RISK
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="How sure the promise is to hold, the prediction's error counted: 0.5 to 0.99.",
            rich_help_panel=_RISK,
        ),
    ] = None,
    growth: Annotated[
        str | None,
        typer.Option(help="How the load grows, such as 20%/month.", rich_help_panel=_RISK),
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(help="Months of growth to plan for.", rich_help_panel=_RISK),
    ] = None,
    peak_minute: Annotated[
        bool,
        typer.Option(
            "--peak-minute",
            help="Leave free what the busiest minute of a day needs, instead of --headroom.",
            rich_help_panel=_RISK,
        ),
    ] = False,
) -> Risk:
    """Read the options about risk."""
    given = {
        "spare": spare,
        "confidence": confidence,
        "growth": None if growth is None else parse_growth(growth),
        "horizon": horizon,
        "peak_minute": peak_minute or None,
    }
    return Risk(**opt.known(given))


@dataclass(frozen=True, slots=True)
class Profile:
    """A load, its rates over time where they change, the autoscaler's limits, and its classes."""

    load: opt.Load
    rates: Rates | None
    scaling: Scaling
    mix: Mix | None = None


def read_profile(
    *,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Rate over time: day or week (with mean --qps), or a CSV of time,rate. Plans for "
            "the peak and prices servers by the hour beside it.",
            rich_help_panel=_DAY,
        ),
    ] = None,
    min_replicas: Annotated[
        int | None,
        typer.Option(help="Servers that always run (default 1).", rich_help_panel=_DAY),
    ] = None,
    max_replicas: Annotated[
        int | None,
        typer.Option(help="Most servers (default what the peak takes).", rich_help_panel=_DAY),
    ] = None,
    cold_start: Annotated[
        str | None,
        typer.Option(
            help="From the order of a server to its first token, such as 90s or 5min "
            "(default estimated).",
            rich_help_panel=_DAY,
        ),
    ] = None,
    ctx: opt.Ctx = None,
    isl: opt.Isl = None,
    osl: opt.Osl = None,
    qps: opt.Qps = None,
    concurrency: opt.Concurrency = None,
    num_requests: opt.NumRequests = None,
    burstiness: opt.Burstiness = None,
    prefix_hit: opt.PrefixHit = None,
    prefix_tokens: opt.PrefixTokens = None,
    num_prefixes: opt.NumPrefixes = None,
    mix: Annotated[
        Path | None,
        typer.Option(
            help="TOML of classes that come together: [[class]] name, qps, isl, osl, ttft, itl. "
            "Plans for shared servers and compares a pool for each class.",
            rich_help_panel=_FEATURES,
        ),
    ] = None,
) -> Profile:
    """Read the traffic, and what it does over the day.

    Raises:
        InvalidValue: options that contradict each other.
    """
    shape = None
    if mix is not None:
        others = {
            "rates": rates, "min_replicas": min_replicas, "max_replicas": max_replicas,
            "cold_start": cold_start, "ctx": ctx, "isl": isl, "osl": osl, "qps": qps,
            "concurrency": concurrency, "burstiness": burstiness, "prefix_hit": prefix_hit,
            "prefix_tokens": prefix_tokens, "num_prefixes": num_prefixes,
        }  # fmt: skip
        return _mixed(mix, list(opt.known(others)), num_requests)
    start_s = None if cold_start is None else parse_milliseconds(cold_start, "cold_start") * MILLI
    limits = {"min_replicas": min_replicas, "max_replicas": max_replicas, "cold_start_s": start_s}
    if rates is None:
        given = [name for name, value in limits.items() if value is not None]
        if given:
            field = given[0].removesuffix("_s")
            raise InvalidValue(field, limits[given[0]], "give it beside rates")
    else:
        if concurrency is not None:
            raise InvalidValue("concurrency", concurrency, "give qps, the mean, beside rates")
        if qps is None and rates in SHAPES:
            raise InvalidValue("qps", None, f"give the mean rate of the {rates}")
        shape = Rates.named(rates)
        qps = qps or f"{shape.mean_per_s!r}"
    load = opt.read_load(
        ctx=ctx,
        isl=isl,
        osl=osl,
        qps=qps,
        concurrency=concurrency,
        num_requests=num_requests,
        burstiness=burstiness,
        prefix_hit=prefix_hit,
        prefix_tokens=prefix_tokens,
        num_prefixes=num_prefixes,
    )
    return Profile(load, shape, Scaling(**opt.known(limits)))


def _mixed(path: Path, others: list[str], num_requests: int | None) -> Profile:
    """Read classes that come together as one load.

    Raises:
        InvalidValue: the file makes no sense, or options say another load.
    """
    from fitcalc.inputs.context import RequestLength
    from fitcalc.inputs.mix_file import read_mix

    if others:
        raise InvalidValue("mix", path, f"give it without {', '.join(others)}")
    mix = read_mix(path, num_requests=num_requests)
    traffic = mix.merged()
    length = RequestLength(round(traffic.isl.mean), round(traffic.osl.mean), traffic.longest, "")
    return Profile(opt.Load(traffic, length), None, Scaling(), mix)
