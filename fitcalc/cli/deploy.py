"""``fitcalc deploy``: a saved plan as files that start it, and the test of its claim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, write_json
from fitcalc.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fitcalc.planning.choice import Plan

_STDIN = "-"


def deploy(
    plan: Annotated[
        str, typer.Argument(help="What fitcalc plan --json wrote, or - to read it from a pipe.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="vllm, sglang, trtllm, compose, k8s, kserve, llm-d, skypilot or bench; may be "
            "repeated (default all that can be written).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files (default print them).")
    ] = None,
    choice: Annotated[
        int, typer.Option(min=0, help="0 the best, 1 the first alternative, and so on.")
    ] = 0,
    as_json: opt.Json = False,
) -> int:
    """Write a saved plan for vLLM, other engines, Compose, Kubernetes, SkyPilot and a benchmark."""
    from fitcalc.report.deploy.targets import manifests

    read = _read(plan)
    if read.best is None:
        sys.stderr.write("The plan has no choice to deploy: nothing fits its question.\n")
        return NOTHING_FITS
    choices = (read.best, *read.alternatives)
    if choice >= len(choices):
        raise InvalidValue("choice", choice, f"the plan has choices 0 to {len(choices) - 1}")
    made = manifests(read, target or None, choice=choices[choice])
    for name, why in made.left_out.items():
        sys.stderr.write(f"Left out {name}: {why}.\n")
    if out is not None:
        _save(made.files, out)
    if as_json:
        write_json(made)
    elif out is None:
        _print(made.files)
    return ANSWERED


def _read(path: str) -> Plan:
    from fitcalc.planning.saved import read_plan

    try:
        text = sys.stdin.read() if path == _STDIN else Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it cannot be read"
        raise InvalidValue(
            "plan", path, f"{why}; give a file that fitcalc plan --json wrote"
        ) from None
    return read_plan(text, path)


def _save(files: Mapping[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
    except OSError as error:
        raise InvalidValue("out", folder, f"{error.strerror or 'it cannot be written'}") from None
    for name in files:
        sys.stderr.write(f"wrote {folder / name}\n")


def _print(files: Mapping[str, str]) -> None:
    """Print the files; more than one under their names."""
    for name, text in files.items():
        title = f"# ---- {name}\n" if len(files) > 1 else ""
        sys.stdout.write(f"{title}{text}")
