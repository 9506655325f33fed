"""``fitcalc check``: does a deployment, or a budget, keep its promise? For CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, one_format, show, write_json, write_text


def check(
    scenario: Annotated[Path, typer.Argument(help="A scenario file, such as fitcalc.toml.")],
    as_json: opt.Json = False,
    as_markdown: opt.Markdown = False,
) -> int:
    """Check a scenario file: exit 0 if it keeps its promise, 1 if not, 2 if it is wrong."""
    one_format(as_json=as_json, as_markdown=as_markdown)
    from fitcalc.inputs.scenario_file import read_scenario
    from fitcalc.planning.check import check as make_check

    answer = make_check(read_scenario(scenario))
    if as_json:
        write_json(answer)
    elif as_markdown:
        write_text(answer.markdown())
    else:
        from fitcalc.report.check_view import check_view

        show(lambda _: check_view(answer))
    return ANSWERED if answer.ok else NOTHING_FITS
