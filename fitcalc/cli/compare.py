"""``fitcalc compare``: two plans or configurations, term by term."""

from __future__ import annotations

from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, one_format, show, write_json, write_text

_WHAT = "what fitcalc plan --json wrote, or a scenario file; fitcalc.toml:chat is one of several."


def compare(
    a: Annotated[str, typer.Argument(help=f"A: {_WHAT}")],
    b: Annotated[str, typer.Argument(help="B: the same.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Show the terms that are the same too.")
    ] = False,
    as_json: opt.Json = False,
    as_markdown: opt.Markdown = False,
) -> int:
    """Set two plans or configurations beside each other, term by term."""
    one_format(as_json=as_json, as_markdown=as_markdown)
    from fitcalc.planning.compare import compare as compared

    found = compared(a, b)
    if as_json:
        write_json(found)
        return ANSWERED
    from fitcalc.report.compare_view import compare_markdown, compare_view

    if as_markdown:
        write_text(compare_markdown(found, everything=everything))
    else:
        show(lambda _: compare_view(found, everything=everything))
    return ANSWERED
