"""``fitcalc sweep``: one question of many scenarios, in processes or on a cluster."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, show, write_json
from fitcalc.cli.executors import executor_of
from fitcalc.cli.groups import takes
from fitcalc.cli.progress import counted
from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from fitcalc.planning.swept import Sweep

_WHERE, _ANSWER = "Where it runs", "Answer"
_SHOWN = 20
_SETS = {
    "model": "Alias, Hugging Face id, or path to a config.json.",
    "gpu": "GPU, such as h100 or 4090.",
    "replicas": "Servers behind the router.",
    "qps": "Requests a second.",
    "concurrency": "Clients that wait for their answers.",
    "ctx": "isl + osl: 8k = 8192 tokens.",
    "isl": "Input tokens of a request.",
    "osl": "Output tokens of a request.",
    "ttft": "Longest time to first token in ms.",
    "itl": "Longest gap between output tokens in ms.",
    "headroom": "Share of the rate that a plan leaves free.",
    "tp": "GPUs that share each layer.",
    "quantization": "Weight format.",
    "kv_cache_dtype": "KV cache format.",
    "max_num_seqs": "Requests of a batch at most.",
}
"""Fields with an option of their own; ``--set`` takes every field."""


def read_sets(*, changes: list[str] | None = None, **fields: str | None) -> dict[str, list[str]]:
    """Read which fields take which values.

    Raises:
        InvalidValue: a change is none, or names a field that has been given.
    """
    words = [f"{name}={text}" for name, text in opt.known(fields).items()]
    sets: dict[str, list[str]] = {}
    for word in [*words, *(changes or ())]:
        name, equals, text = word.partition("=")
        values = [value.strip() for value in text.split(",")]
        name = name.strip()
        if not (equals and name and all(values)):
            raise InvalidValue("--set", word, "write it as traffic.qps=5,10,20")
        if name in sets:
            raise InvalidValue("--set", word, f"give {name} once, its values joined by commas")
        sets[name] = values
    return sets


def _option(name: str, words: str) -> inspect.Parameter:
    spelled = f"--{name.replace('_', '-')}"
    option = typer.Option(spelled, help=words, rich_help_panel="Swept (one value or 5,10,20)")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


_CHANGES = typer.Option(
    "--set",
    help="Any field of a scenario file: traffic.qps=5,10,20; may be repeated.",
    rich_help_panel="Swept (one value or 5,10,20)",
)
read_sets.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(
            "changes",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[list[str] | None, _CHANGES],
        ),
        *(_option(name, words) for name, words in _SETS.items()),
    ]
)


@takes(sets=read_sets)
def sweep(
    *,
    scenario: Annotated[
        Path | None,
        typer.Argument(help="A scenario file, such as fitcalc.toml: what all have in common."),
    ] = None,
    sets: dict[str, list[str]],
    ask: Annotated[
        str | None,
        typer.Option(
            help="plan, predict, simulate or fit (default predict with a GPU, else plan).",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of every simulation.", rich_help_panel=_ANSWER)
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.", rich_help_panel=_WHERE)] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            help="An existing Dask cluster: tcp://host:8786.",
            rich_help_panel=_WHERE,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Rows as they come, a JSON line each; the same command goes on from there.",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a CSV at the end.", rich_help_panel=_ANSWER)
    ] = None,
    best: Annotated[
        str, typer.Option(help="What ranks rows: cost or latency.", rich_help_panel=_ANSWER)
    ] = "cost",
    top: Annotated[
        int, typer.Option(min=1, help="Rows to show.", rich_help_panel=_ANSWER)
    ] = _SHOWN,
    as_json: opt.Json = False,
) -> int:
    """Ask one question of many scenarios, and rank the answers."""
    if best not in ("cost", "latency"):
        raise InvalidValue("best", best, "rank by cost or latency")
    if scenario is None and not sets:
        raise InvalidValue("scenario", None, "give a scenario file, or --model and its load")
    if dask is not None and jobs > 1:
        raise InvalidValue("jobs", jobs, "give it without --dask; the cluster has its own workers")
    if csv is not None and not csv.resolve().parent.is_dir():
        raise InvalidValue("csv", csv, "name a file in a folder that exists")
    answer = _swept(scenario, sets, ask=ask, seed=seed, jobs=jobs, dask=dask, out=out)
    if csv is not None:
        from fitcalc.report.sweep_view import write_csv

        write_csv(answer, csv)
    if as_json:
        write_json(answer)
    else:
        from fitcalc.report.sweep_view import sweep_view

        show(lambda width: sweep_view(answer, width, by=best, top=top))
    return ANSWERED if answer else NOTHING_FITS


def _swept(
    scenario: Path | None,
    sets: dict[str, list[str]],
    *,
    ask: str | None,
    seed: int,
    jobs: int,
    dask: str | None,
    out: Path | None,
) -> Sweep:
    from fitcalc.planning.sweep import sweep as make_sweep

    reached = (0, 0)

    def count(done: int, total: int) -> None:
        nonlocal reached
        reached = done, total
        if told is not None:
            told(done, total)

    told = None
    try:
        with ExitStack() as stack:
            executor = stack.enter_context(executor_of(jobs, dask))
            told = stack.enter_context(counted("scenarios"))
            return make_sweep(
                scenario or {}, sets, ask=ask, executor=executor, out=out, seed=seed, progress=count
            )
    except KeyboardInterrupt:
        typer.echo(_interrupted(*reached, out), err=True)
        raise


def _interrupted(done: int, total: int, out: Path | None) -> str:
    so_far = f"Interrupted after {done:,} of {total:,} scenarios"
    if out is None:
        return f"{so_far}; none is kept: give --out FILE to be able to go on."
    return f"{so_far}; they are in {out}, and the same command goes on from there."
