"""Options that come in groups: a function's parameters become options, its result an argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

_CALIBRATION = Annotated[
    Path | None,
    typer.Option(
        help="Your own results, a folder of fitcalc calibrate (default $FITCALC_CALIBRATION).",
        rich_help_panel="Answer",
    ),
]


def takes(
    **builders: Callable[..., object],
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Fill arguments of a command from groups of options.

    ``@takes(slo=read_slo)`` gives the command every option of ``read_slo`` and passes what
    ``read_slo`` makes of them as ``slo``.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(command, eval_str=True)
        groups = {name: inspect.signature(b, eval_str=True) for name, b in builders.items()}

        def filled(**values: object) -> int:
            built = {
                name: builders[name](**{key: values.pop(key) for key in group.parameters})
                for name, group in groups.items()
            }
            return command(**values, **built)

        parameters = [
            option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in own.parameters.items()
            for option in (groups[name].parameters.values() if name in groups else (parameter,))
        ]
        filled.__name__, filled.__doc__ = command.__name__, command.__doc__
        filled.__annotations__ = {p.name: p.annotation for p in parameters}
        signature = own.replace(parameters=parameters)
        filled.__signature__ = signature  # type: ignore[attr-defined]
        return filled

    return decorate


def with_calibration(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command ``--calibration``: the user's own results go before the shipped ones."""

    def calibrated(*, calibration: Path | None = None, **values: object) -> int:
        if calibration is None:
            return command(**values)
        from fitcalc.catalog import own

        with own.calibration(calibration):
            return command(**values)

    own = inspect.signature(command, eval_str=True)
    option = inspect.Parameter(
        "calibration", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_CALIBRATION
    )
    calibrated.__name__, calibrated.__doc__ = command.__name__, command.__doc__
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()
    ] + [option]
    calibrated.__annotations__ = {p.name: p.annotation for p in parameters}
    signature = own.replace(parameters=parameters)
    calibrated.__signature__ = signature  # type: ignore[attr-defined]
    return calibrated


def without_calibration(command: Callable[..., int]) -> Callable[..., int]:
    """Run a command on the shipped tables alone, whatever the environment names."""

    @wraps(command)
    def shipped(**values: object) -> int:
        from fitcalc.catalog import own

        with own.calibration(None):
            return command(**values)

    return shipped
