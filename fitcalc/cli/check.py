"""``fitcalc check`` and ``fitcalc lock``: does a file of scenarios keep its promises? For CI."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, one_format, show, write_json, write_text
from fitcalc.errors import InvalidValue, MistakeInFile

if TYPE_CHECKING:
    from fitcalc.planning.check_file import FileCheck

_FILE = "fitcalc.toml"
_CI = "For CI"


class Annotate(StrEnum):
    """When to write GitHub's workflow commands to stderr."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


Files = Annotated[
    list[Path] | None,
    typer.Argument(help=f"Scenario files (default {_FILE}).", show_default=False),
]


def check(
    *,
    files: Files = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this scenario; may be repeated.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A lock, or a plan's --json: say what changed since then."),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Fail also where an answer is not as locked.")
    ] = False,
    relax: Annotated[
        bool,
        typer.Option("--relax/--no-relax", help="Look for the least change that would pass."),
    ] = True,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML to this file.", rich_help_panel=_CI)
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Write SARIF to this file.", rich_help_panel=_CI)
    ] = None,
    annotations: Annotated[
        Annotate,
        typer.Option(
            help="GitHub annotations on stderr; auto = where GITHUB_ACTIONS is set.",
            rich_help_panel=_CI,
        ),
    ] = Annotate.NEVER,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of scenario files, and exit."),
    ] = False,
    as_json: opt.Json = False,
    as_markdown: opt.Markdown = False,
) -> int:
    """Check a scenario file: exit 0 if it keeps its promise, 1 if not, 2 if it is wrong."""
    one_format(as_json=as_json, as_markdown=as_markdown)
    if schema:
        from fitcalc.inputs.scenario_schema import shipped_schema

        write_text(shipped_schema().rstrip())
        return ANSWERED
    asked = files or [_default()]
    from fitcalc.planning.check_file import check_file

    marked = annotations is Annotate.ALWAYS
    marked |= annotations is Annotate.AUTO and os.environ.get("GITHUB_ACTIONS") == "true"
    try:
        found = [
            check_file(
                file, scenarios=scenario or (), baseline=baseline, locked=locked, relax=relax
            )
            for file in asked
        ]
    except MistakeInFile as wrong:
        if marked:
            from fitcalc.report.ci import annotation

            _talk(annotation(wrong.path, wrong.line, "wrong question", wrong.said))
        raise
    _reports(found, junit, sarif, marked=marked)
    _write(found, as_json=as_json, as_markdown=as_markdown)
    return ANSWERED if all(found) else NOTHING_FITS


def lock(
    files: Files = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Where to write it (default beside the file: fitcalc.lock)."),
    ] = None,
) -> int:
    """Write the answer of each scenario, and with which tables it was made, beside the file."""
    from fitcalc.planning.check_file import lock_path, make_lock

    asked = files or [_default()]
    if output is not None and len(asked) > 1:
        raise InvalidValue("output", output, "give one file with it")
    code = ANSWERED
    for file in asked:
        made, checks = make_lock(file)
        missed = [one.name for one in checks if not one.ok]
        if missed:
            _talk(f"{file}: {', '.join(missed)} misses its promise; nothing was locked.")
            code = NOTHING_FITS
            continue
        where = output or lock_path(file)
        _save(where, made.text(), "output")
        _talk(f"{where}: {len(checks)} locked.")
    return code


def _default() -> Path:
    """Return the file that is meant where none is named."""
    path = Path(_FILE)
    if not path.exists():
        raise InvalidValue("file", path, "there is none here; name one, or run fitcalc init")
    return path


def _write(found: list[FileCheck], *, as_json: bool, as_markdown: bool) -> None:
    if as_json:
        files = [file.model_dump(mode="json") for file in found]
        write_json(files[0] if len(files) == 1 else {"ok": all(found), "files": files})
    elif as_markdown:
        write_text("\n\n".join(one.markdown() for one in found))
    else:
        from fitcalc.report.check_view import files_view

        show(lambda _: files_view(found))


def _reports(
    found: list[FileCheck], junit: Path | None, sarif: Path | None, *, marked: bool
) -> None:
    """Write what CI systems read."""
    if not (junit or sarif or marked):
        return
    from fitcalc.report import ci

    if junit is not None:
        _save(junit, ci.junit(found), "junit")
    if sarif is not None:
        _save(sarif, json.dumps(ci.sarif(found), indent=2) + "\n", "sarif")
    if marked:
        for one in found:
            for line in ci.commands(one):
                _talk(line)


def _save(path: Path, text: str, field: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fix = f"it cannot be written ({error.strerror}); name a file in a folder that exists"
        raise InvalidValue(field, path, fix) from None


def _talk(line: str) -> None:
    sys.stderr.write(f"{line}\n")
