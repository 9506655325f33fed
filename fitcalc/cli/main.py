"""The entry point: every command, and how mistakes and interruptions end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import typer

from fitcalc.cli import check, configuration, dashboard, plan, tables
from fitcalc.errors import FitcalcError

WRONG_QUESTION = 2
INTERRUPTED = 130
PIPE_CLOSED = 141
FITCALC_FAILED = 70

app = typer.Typer(
    name="fitcalc",
    help="Which GPU, how many, which settings, at what cost, for this model and this traffic.",
    epilog="Exit codes: 0 an answer, 1 nothing fits or a check failed, 2 the question was wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("plan")(plan.plan)
app.command("fit")(configuration.fit)
app.command("predict")(configuration.predict)
app.command("simulate")(configuration.simulate)
app.command("explain")(configuration.explain)
app.command("check")(check.check)
app.command("gpus")(tables.gpus)
app.command("models")(tables.models)
app.command("dashboard")(dashboard.dashboard)


@runtime_checkable
class _UsageError(Protocol):
    """What the option parser raises: it can put itself in words."""

    def format_message(self) -> str: ...


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Answer one command line. Data goes to stdout, talk to stderr.

    Returns:
        0 an answer; 1 nothing fits, or a check failed; 2 the question was wrong.
    """
    try:
        code = app(args=list(arguments), prog_name="fitcalc", standalone_mode=False)
        sys.stdout.flush()
    except FitcalcError as error:
        return _say(str(error), WRONG_QUESTION)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, _UsageError):
            return _say(_sentence(error.format_message()), WRONG_QUESTION)
        if os.environ.get("FITCALC_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _say(
            f"fitcalc failed ({what}): this is a mistake of fitcalc, not of the question; "
            "FITCALC_DEBUG=1 shows where.",
            FITCALC_FAILED,
        )
    return code if isinstance(code, int) else 0


def _say(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201
    return code


def _sentence(message: str) -> str:
    """Join the parser's lines to one sentence."""
    text = " ".join(message.split())
    return text if text.endswith((".", "?")) else f"{text}."
