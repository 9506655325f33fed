"""The entry point: every command, and how mistakes and interruptions end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Protocol, runtime_checkable

import typer

from fitcalc.cli.examples import epilog
from fitcalc.cli.groups import with_calibration, without_calibration
from fitcalc.errors import FitcalcError, TableError

WRONG_QUESTION = 2
INTERRUPTED = 130
PIPE_CLOSED = 141
FITCALC_FAILED = 70

COMMANDS = {
    "plan": ("plan", "Plan the cheapest GPUs and vLLM settings that keep a latency promise."),
    "fit": ("fit", "Show what one GPU's memory holds: weights, KV cache, users."),
    "predict": ("configuration", "Predict the latency and throughput of one server."),
    "simulate": ("simulate", "Run traffic or a trace through vLLM's scheduler."),
    "explain": ("configuration", "Print each equation of a prediction with its numbers."),
    "sweep": ("sweep", "Ask one question of many scenarios, on one machine or a cluster."),
    "compare": ("compare", "Set two plans or configurations beside each other, term by term."),
    "deploy": ("deploy", "Write a saved plan as files that start it, and the test of its claim."),
    "init": ("init", "Write a commented scenario file, fitcalc.toml, by asking."),
    "check": ("check", "Check a scenario file: exit 0 if it keeps its promise, 1 if not."),
    "lock": ("check", "Write the answers of a scenario file, to see later what changed."),
    "gpus": ("tables", "List, search or show GPUs, each figure with its source."),
    "models": ("tables", "List, search or show models."),
    "calibrate": ("calibrate", "Measure your own GPU, or fit every coefficient again."),
    "validate": ("validate", "Show how far predictions lie from what others measured."),
    "dashboard": ("dashboard", "Open the dashboard in a browser."),
}
"""Each command: the module that holds it, and its help."""
_COMPLETE = "_FITCALC_COMPLETE"
BARE = {"--plot": "terminal"}
"""Options whose value may be left out, and what it is then."""
UNCALIBRATED = {"models", "calibrate", "deploy", "init"}
"""Commands that take nobody's own coefficients."""


def build(asked: str | None) -> typer.Typer:
    """Build the command line; only the command that is asked for is imported."""
    app = typer.Typer(
        name="fitcalc",
        help="Which GPU, how many, which settings, at what cost, for this model and this traffic.",
        epilog="Exit codes: 0 an answer, 1 nothing fits or a check failed, "
        "2 the question was wrong.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_top)
    for name, (module, words) in COMMANDS.items():
        command = _command(module, name) if name == asked else _not_asked
        app.command(name, help=words, epilog=epilog(name))(command)
    return app


def _command(module: str, name: str) -> Callable[..., int]:
    command: Callable[..., int] = getattr(import_module(f"fitcalc.cli.{module}"), name)
    return (without_calibration if name in UNCALIBRATED else with_calibration)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fitcalc {version('fitcalc')}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del version


def _not_asked() -> None:
    """Stand for a command in the list of commands."""


@runtime_checkable
class _UsageError(Protocol):
    """What the option parser raises: it can put itself in words."""

    def format_message(self) -> str: ...


def main() -> None:
    """Run the command line and leave with its exit code."""
    if _COMPLETE in os.environ:  # a shell asks what may come next
        build(_first(_typed().split()[1:]))(prog_name="fitcalc")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Answer one command line. Data goes to stdout, talk to stderr.

    Returns:
        0 an answer; 1 nothing fits, or a check failed; 2 the question was wrong.
    """
    asked = _first(arguments)
    try:
        code = build(asked)(args=_filled(arguments), prog_name="fitcalc", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            return 0
        if os.environ.get("FITCALC_DEBUG"):
            raise
        said, code = _end(error)
        if said:
            print(said, file=sys.stderr)  # noqa: T201
    return code if isinstance(code, int) else 0


def _first(words: Sequence[str]) -> str | None:
    """Return the command among the words."""
    return next((word for word in words if not word.startswith("-")), None)


def _typed() -> str:
    """Return the command line so far, as the shell's completion passes it."""
    return os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")


def _filled(arguments: Sequence[str]) -> list[str]:
    """Write out values that may be left out.

    Examples:
        >>> _filled(["simulate", "--plot", "--json"])
        ['simulate', '--plot', 'terminal', '--json']
    """
    filled: list[str] = []
    for word, after in zip(arguments, [*arguments[1:], "-"], strict=True):
        filled.append(word)
        if word in BARE and after.startswith("-"):
            filled.append(BARE[word])
    return filled


def _end(error: BaseException) -> tuple[str, int]:
    """Return what to say about the end of a run, and its exit code."""
    match error:
        case TableError():
            return str(error), FITCALC_FAILED
        case FitcalcError():
            return str(error), WRONG_QUESTION
        case BrokenPipeError() | SystemExit():  # rich and typer turn the one into the other
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return "", PIPE_CLOSED
        case KeyboardInterrupt() | typer.Abort():
            return "", INTERRUPTED
        case _UsageError():
            return _sentence(error.format_message()), WRONG_QUESTION
        case _:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            fault = "this is a mistake of fitcalc, not of the question; FITCALC_DEBUG=1 shows where"
            return f"fitcalc failed ({what}): {fault}.", FITCALC_FAILED


def _sentence(message: str) -> str:
    """Join the parser's lines to one sentence."""
    text = " ".join(message.split())
    return text if text.endswith((".", "?", ")")) or not text else f"{text}."
