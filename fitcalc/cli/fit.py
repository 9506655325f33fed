"""``fitcalc fit``: what one GPU's memory holds, and what would fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.answers import Rejection
from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, show, write_json
from fitcalc.cli.engine import read_engine
from fitcalc.cli.groups import takes
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.units import parse_bytes, parse_tokens

if TYPE_CHECKING:
    from fitcalc.planning.fit_answers import FitAnswers
    from fitcalc.planning.fit_lists import GpuFit, ModelFit

_ASK, _CARD = "Questions", "The card"


@takes(engine=read_engine)
def fit(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="Alias (70b), id or config.json; without it: which models fit.",
            autocompletion=opt.model_names,
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU, such as h100 or h100:3g.40gb; without it: which GPUs do.",
            autocompletion=opt.gpu_names,
        ),
    ] = None,
    ctx: Annotated[
        str | None,
        typer.Option(
            help="How many requests of so many tokens run at once? (8k = 8192)",
            rich_help_panel=_ASK,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="How long may so many requests at once be?", rich_help_panel=_ASK),
    ] = None,
    what_if: Annotated[
        bool,
        typer.Option(
            "--what-if",
            help="What does each setting free, which formats fit, how few GPUs?",
            rich_help_panel=_ASK,
        ),
    ] = False,
    mig: Annotated[
        str | None,
        typer.Option(help="Slice of the GPU, such as 3g.40gb.", rich_help_panel=_CARD),
    ] = None,
    reserved: Annotated[
        str | None,
        typer.Option(help="Memory that other processes keep, such as 4GiB.", rich_help_panel=_CARD),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint's safetensors index, file or folder: exact weights.",
            rich_help_panel=_CARD,
        ),
    ] = None,
    engine: EngineArgs,
    as_json: opt.Json = False,
) -> int:
    """Show what one GPU's memory holds: weights, KV cache, users, longest context."""
    if mig is not None:
        if gpu is None:
            raise InvalidValue("mig", mig, "give the gpu it is a slice of")
        gpu = f"{gpu}:{mig}"
    tokens = None if ctx is None else parse_tokens(ctx, "ctx")
    kept = 0.0 if reserved is None else parse_bytes(reserved, "reserved")
    if model is None or gpu is None:
        _no_question_of_one(index=index, what_if=what_if)
        return _several(model, gpu, engine, tokens, concurrency, kept, as_json=as_json)
    from fitcalc.planning.fit_answers import answers
    from fitcalc.planning.fits import ask

    question = ask(model, gpu, engine, index=index, reserved_bytes=kept)
    found = answers(question, context=tokens, concurrency=concurrency, what_if=what_if)
    if as_json:
        write_json(_object(found))
    else:
        from fitcalc.report.fit_view import fit_view

        show(lambda width: fit_view(found, width))
    return ANSWERED if found.enough else NOTHING_FITS


def _no_question_of_one(*, index: Path | None, what_if: bool) -> None:
    if index is not None:
        raise InvalidValue("index", index, "give a model and a gpu with it")
    if what_if:
        raise InvalidValue("what_if", "true", "give a model and a gpu with it")


def _several(  # noqa: PLR0917 - the options of the command
    model: str | None,
    gpu: str | None,
    engine: EngineArgs,
    context: int | None,
    concurrency: int | None,
    reserved: float,
    *,
    as_json: bool,
) -> int:
    """Answer which GPUs hold a model, or which models a GPU holds."""
    many = concurrency or 1
    if model is not None:
        if context is not None and engine.max_model_len is None:
            engine = engine.replace(max_model_len=context)
        from fitcalc.planning.fit_lists import gpus_that_fit

        gpus = gpus_that_fit(model, engine, concurrency=many, reserved_bytes=reserved)
        return _list("gpus", gpus, {"model": model}, as_json=as_json)
    if gpu is None:
        raise InvalidValue("model", None, "give --model, --gpu or both")
    from fitcalc.planning.fit_lists import largest_models

    models = largest_models(gpu, engine, context=context, concurrency=many, reserved_bytes=reserved)
    return _list("models", models, {"gpu": gpu}, as_json=as_json)


def _list(
    name: str, rows: tuple[GpuFit, ...] | tuple[ModelFit, ...], asked: dict[str, str],
    *, as_json: bool,
) -> int:  # fmt: skip
    if as_json:
        write_json({**asked, name: [row.model_dump(mode="json") for row in rows]})
    else:
        from fitcalc.report.fit_view import list_view

        show(lambda _: list_view(rows))
    return ANSWERED if rows else NOTHING_FITS


def _object(found: FitAnswers) -> dict[str, object]:
    """Return the ledger's keys, or the rejection's, and the answers that were asked for."""
    top = found.memory.model_dump(mode="json")
    if isinstance(found.memory, Rejection) and not found.asked:
        return top
    asked = found.model_dump(mode="json", include=set(found.asked))
    return {**top, **({"answers": asked} if asked else {})}
