"""Where an answer goes: one JSON object, Markdown, or a rich view on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from rich.console import RenderableType

ANSWERED, NOTHING_FITS = 0, 1
_PIPE_WIDTH = 120


def one_format(*, as_json: bool, as_markdown: bool) -> None:
    """Refuse to be asked for two formats at once.

    Raises:
        InvalidValue: both are asked for.
    """
    if as_json and as_markdown:
        raise InvalidValue("--json", "--markdown", "ask for one of --json and --markdown")


def write_json(answer: BaseModel | object) -> None:
    """Write one JSON object to stdout; a number that does not exist is null."""
    if isinstance(answer, BaseModel):
        text = answer.model_dump_json(indent=2)
    else:
        text = json.dumps(answer, indent=2, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def write_text(text: str) -> None:
    """Write text as it is to stdout."""
    sys.stdout.write(f"{text}\n")


def show(view: Callable[[int], RenderableType]) -> None:
    """Print a rich view of the console's width: in colour on a terminal, plain in a pipe.

    A pipe has no width of its own: lines are laid out for 120 columns unless COLUMNS says more.
    """
    from rich.console import Console

    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(highlight=False, width=_PIPE_WIDTH if free else None)
    console.print(view(console.width), crop=False)
