"""The options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from fitcalc.inputs.context import RequestLength, request_length
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import parse_tokens

_LOAD, _PROMISE, _ANSWER = "Traffic", "Promise", "Answer"
_SLO = Slo.model_fields


def model_names(incomplete: str) -> list[str]:
    """Offer the models that begin so, to a shell's completion."""
    from fitcalc.catalog.model_names import aliases

    return sorted(name for name in aliases() if name.startswith(incomplete))


def gpu_names(incomplete: str) -> list[str]:
    """Offer the GPUs that begin so; after a comma the next one."""
    from fitcalc.catalog.gpu import gpu_ids

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in gpu_ids() if name.startswith(last)]


Model = Annotated[
    str,
    typer.Option(
        help="Alias (70b), Hugging Face id, or path to a config.json or its folder.",
        show_default=False,
        autocompletion=model_names,
    ),
]
OneGpu = Annotated[
    str,
    typer.Option("--gpu", help="GPU, such as h100 or 4090.", autocompletion=gpu_names),
]
Ctx = Annotated[
    str | None,
    typer.Option(help="isl + osl: 8k = 8192 tokens; also max_model_len.", rich_help_panel=_LOAD),
]
Isl = Annotated[str | None, typer.Option(help="Input tokens of a request.", rich_help_panel=_LOAD)]
Osl = Annotated[str | None, typer.Option(help="Output tokens of a request.", rich_help_panel=_LOAD)]
Qps = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Requests a second, open loop: 20, 20/s, 1M/day.",
        rich_help_panel=_LOAD,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(help="Clients that wait for their answers, closed loop.", rich_help_panel=_LOAD),
]
NumRequests = Annotated[
    int | None,
    typer.Option(help="Requests to run; without it a steady state.", rich_help_panel=_LOAD),
]
Burstiness = Annotated[
    float | None,
    typer.Option(help="1 = Poisson; lower is burstier.", rich_help_panel=_LOAD),
]
PrefixHit = Annotated[
    float | None,
    typer.Option(
        help="Share of prompt tokens in the prefix cache, 0 to 0.99.", rich_help_panel=_LOAD
    ),
]
PrefixTokens = Annotated[
    str | None,
    typer.Option(
        help="Tokens at the start of prompts that requests share: 4k.", rich_help_panel=_LOAD
    ),
]
NumPrefixes = Annotated[
    int | None,
    typer.Option(
        help="How many such prefixes there are, all as likely (default 1).", rich_help_panel=_LOAD
    ),
]
Ttft = Annotated[
    str | None,
    typer.Option(
        metavar="MS",
        help=f"Longest time to first token: 500, 2s (default {_SLO['ttft_ms'].default:g} ms).",
        rich_help_panel=_PROMISE,
    ),
]
Itl = Annotated[
    str | None,
    typer.Option(
        metavar="MS",
        help=f"Longest gap between output tokens (default {_SLO['itl_ms'].default:g} ms).",
        rich_help_panel=_PROMISE,
    ),
]
E2e = Annotated[
    str | None,
    typer.Option(
        metavar="MS", help="Longest whole request: 30s (default none).", rich_help_panel=_PROMISE
    ),
]
Percentile = Annotated[
    float | None,
    typer.Option(
        help=f"Percentile that is promised, 50 to 99 (default {_SLO['percentile'].default:g}).",
        rich_help_panel=_PROMISE,
    ),
]
ItlPercentile = Annotated[
    float | None,
    typer.Option(
        help="Percentile of the gaps, where it is another than --percentile.",
        rich_help_panel=_PROMISE,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=_ANSWER),
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown.", rich_help_panel=_ANSWER)
]


@dataclass(frozen=True, slots=True)
class Load:
    """The traffic, and how its lengths were read."""

    traffic: Traffic
    length: RequestLength


def read_load(
    *,
    ctx: Ctx = None,
    isl: Isl = None,
    osl: Osl = None,
    qps: Qps = None,
    concurrency: Concurrency = None,
    num_requests: NumRequests = None,
    burstiness: Burstiness = None,
    prefix_hit: PrefixHit = None,
    prefix_tokens: PrefixTokens = None,
    num_prefixes: NumPrefixes = None,
) -> Load:
    """Read the options about traffic."""
    length = read_length(ctx=ctx, isl=isl, osl=osl)
    rates = {
        "qps": qps,
        "concurrency": concurrency,
        "num_requests": num_requests,
        "burstiness": burstiness,
        "prefix_hit": prefix_hit,
        "prefix_tokens": prefix_tokens,
        "num_prefixes": num_prefixes,
    }
    return Load(Traffic(isl=length.isl, osl=length.osl, **known(rates)), length)


def read_length(*, ctx: str | None, isl: str | None, osl: str | None) -> RequestLength:
    """Read how long requests are. [tokens]"""
    tokens = (
        None if text is None else parse_tokens(text, field)
        for text, field in ((ctx, "ctx"), (isl, "isl"), (osl, "osl"))
    )
    return request_length(*tokens)


def read_slo(
    *,
    ttft: Ttft = None,
    itl: Itl = None,
    e2e: E2e = None,
    percentile: Percentile = None,
    itl_percentile: ItlPercentile = None,
) -> Slo:
    """Read the promise; what nobody gave keeps the default of ``Slo`` and counts as unset."""
    given = {
        "ttft_ms": ttft,
        "itl_ms": itl,
        "e2e_ms": e2e,
        "percentile": percentile,
        "itl_percentile": itl_percentile,
    }
    return Slo(**known(given))


def known(fields: Mapping[str, object]) -> dict[str, object]:
    """Keep the fields that somebody gave."""
    return {name: value for name, value in fields.items() if value is not None}


def names(words: Iterable[str] | None) -> tuple[str, ...]:
    """Read a repeatable option whose values may also be joined by commas."""
    parts = (part.strip() for word in words or () for part in word.split(","))
    return tuple(part for part in parts if part)
