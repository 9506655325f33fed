"""Every field of ``EngineArgs`` as an option, by vLLM's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, get_args

import typer

from fitcalc.cli.options import known
from fitcalc.inputs.engine import EngineArgs
from fitcalc.units import parse_bytes, parse_tokens

_SHORT = {
    "tensor_parallel_size": ("--tp", "-tp"),
    "pipeline_parallel_size": ("--pp", "-pp"),
    "data_parallel_size": ("--dp", "-dp"),
    "decode_context_parallel_size": ("--dcp", "-dcp"),
    "quantization": ("-q",),
}
_SPELLED = {"version": "--vllm-version", "num_speculative_tokens": "--spec-tokens"}
_TEXT: dict[str, Callable[[str, str], float]] = {
    "max_model_len": parse_tokens,
    "kv_cache_memory_bytes": parse_bytes,
}


def read_engine(**values: object) -> EngineArgs:
    """Set the given options; the others keep the default written in ``EngineArgs``."""
    given = known(values)
    return EngineArgs(**{name: engine_field(name, value) for name, value in given.items()})


def engine_field(name: str, value: object) -> object:
    """Read one setting as people write it: ``8k`` tokens, ``4GiB``."""
    return _TEXT[name](str(value), name) if name in _TEXT else value


def _option(name: str) -> inspect.Parameter:
    """Declare one field: its name with dashes, vLLM's short forms, its type and default."""
    field = EngineArgs.model_fields[name]
    kind = str if name in _TEXT else _base_type(field.annotation)
    spelled = _SPELLED.get(name, f"--{name.replace('_', '-')}")
    switch = f"{spelled}/--no-{spelled.removeprefix('--')}" if kind is bool else spelled
    default = "vLLM's" if field.default is None else field.default
    option = typer.Option(
        switch,
        *_SHORT.get(name, ()),
        help=f"(default {default})",
        rich_help_panel="vLLM's settings",
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _base_type(annotation: object) -> type:
    """Return the type beside ``None``."""
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    (kind,) = (k for k in options if isinstance(k, type) and k is not NoneType)
    return kind


read_engine.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_option(name) for name in EngineArgs.model_fields]
)
