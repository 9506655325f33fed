"""``fitcalc init``: write a commented fitcalc.toml, by asking."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED
from fitcalc.errors import FitcalcError, InvalidValue

_FILE = Path("fitcalc.toml")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One field: what is asked, what is taken without an answer, and what checks it."""

    words: str
    default: str
    check: Callable[[str], object]


def init(
    *,
    file: Annotated[Path, typer.Argument(help="What to write.")] = _FILE,
    model: Annotated[
        str | None,
        typer.Option(help="Alias, Hugging Face id or path.", autocompletion=opt.model_names),
    ] = None,
    qps: opt.Qps = None,
    ctx: opt.Ctx = None,
    ttft: opt.Ttft = None,
    itl: opt.Itl = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="GPU types allowed, by commas; any = all.", autocompletion=opt.gpu_names),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Most USD an hour; none = no limit.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> int:
    """Write a commented scenario file by asking; it never writes over one unless told."""
    if file.exists() and not force:
        raise InvalidValue(
            "file", file, "it exists; name another, or give --force to write over it"
        )
    given = {
        "model": model, "qps": qps, "ctx": ctx, "ttft": ttft, "itl": itl, "gpu": gpu,
        "budget": budget,
    }  # fmt: skip
    said = {name: _answer(name, given[name], yes=yes) for name in given}
    text = _text(said)
    from fitcalc.inputs.scenario import scenario_of

    scenario_of(tomllib.loads(text))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fix = f"it cannot be written ({error.strerror}); name a file in a folder that exists"
        raise InvalidValue("file", file, fix) from None
    sys.stderr.write(f"{file} is written; check it with: fitcalc check {file}\n")
    return ANSWERED


def _questions() -> dict[str, _Asked]:
    from fitcalc.catalog.model import load_model
    from fitcalc.units import parse_milliseconds, parse_rate, parse_tokens

    return {
        "model": _Asked("Model", "llama-3.1-8b", load_model),
        "qps": _Asked("Requests (20/s, 1M/day)", "1/s", lambda x: parse_rate(x, "qps")),
        "ctx": _Asked("Input + output tokens of a request", "8k", lambda x: parse_tokens(x, "ctx")),
        "ttft": _Asked("Time to first token, p95", "2s", lambda x: parse_milliseconds(x, "ttft")),
        "itl": _Asked("Time between tokens, p95", "100ms", lambda x: parse_milliseconds(x, "itl")),
        "gpu": _Asked("GPU types allowed, by commas", "any", _known_gpus),
        "budget": _Asked("Most USD an hour", "none", _money),
    }


def _answer(name: str, given: str | None, *, yes: bool) -> str:
    """Return a checked answer; on a terminal a mistake is asked again."""
    asked = _questions()[name]
    while True:
        said = given if given is not None else asked.default
        if given is None and not yes:
            said = _prompted(name, asked)
        try:
            asked.check(said)
        except FitcalcError as error:
            if given is not None or yes or not sys.stdin.isatty():
                raise
            sys.stderr.write(f"{error}\n")
        else:
            return said


def _prompted(name: str, asked: _Asked) -> str:
    try:
        return str(typer.prompt(asked.words, default=asked.default, err=True))
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise InvalidValue(name, None, f"nobody answers here; give --{name}, or --yes") from None


def _known_gpus(said: str) -> None:
    from fitcalc.catalog.gpu import resolve_gpu

    if said != "any":
        for name in opt.names([said]):
            resolve_gpu(name)


def _money(said: str) -> None:
    if said == "none":
        return
    try:
        money = float(said.strip().removeprefix("$"))
    except ValueError:
        money = 0.0
    if not 0 < money < float("inf"):
        raise InvalidValue("budget", said, "give USD an hour above 0, such as 100, or none")


def _text(said: dict[str, str]) -> str:
    """Return the file."""
    gpus = "" if said["gpu"] == "any" else ", ".join(map(_quoted, opt.names([said["gpu"]])))
    budget = "" if said["budget"] == "none" else said["budget"].strip().removeprefix("$")
    return f"""\
# What this service promises, and what it may use. Check it with: fitcalc check
# Every field: fitcalc check --schema

model = {_quoted(said["model"])}

[traffic]
qps = {_quoted(said["qps"])}         # 20, "20/s", "1M/day"
ctx = {_quoted(said["ctx"])}          # input + output tokens; or isl and osl

[slo]                 # at the 95th percentile, unless percentile says otherwise
ttft_ms = {_quoted(said["ttft"])}
itl_ms = {_quoted(said["itl"])}

[plan]                # any plan within these limits passes
{f"gpus = [{gpus}]" if gpus else '# gpus = ["h100", "l40s"]'}
{f"budget_usd_per_hour = {budget}" if budget else "# budget_usd_per_hour = 100"}
# max_gpus = 16
# headroom = 0.2      # share of the rate that stays free

# A pinned choice is held to the promise, and to the limits above:
# [engine]
# tensor_parallel_size = 1
# [deployment]
# gpu = "h100"
# replicas = 2

# More scenarios in this file; each takes what it does not say from above:
# [scenario.chat]
# traffic = {{ qps = 5, isl = "2k", osl = 300 }}
"""


def _quoted(text: str) -> str:
    """Return a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
