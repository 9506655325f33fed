"""``gpus`` and ``models``: what the tables hold, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, show, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

Name = Annotated[
    str | None,
    typer.Argument(help="A name shows one; a part of a name lists those that hold it."),
]


def gpus(name: Name = None, as_json: opt.Json = False) -> int:
    """List and search the GPUs; show one with each figure's unit and source."""
    from fitcalc.report import gpu_view

    answer, view = gpu_view.answer(name)
    return _write(answer, view, as_json=as_json)


def models(name: Name = None, as_json: opt.Json = False) -> int:
    """List and search the models; show one."""
    from fitcalc.report import model_view

    answer, view = model_view.answer(name)
    return _write(answer, view, as_json=as_json)


def _write(
    answer: dict[str, object], view: Callable[[int], RenderableType], *, as_json: bool
) -> int:
    if as_json:
        write_json(answer)
    else:
        show(view)
    return ANSWERED
