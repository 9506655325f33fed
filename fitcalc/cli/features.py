"""Options about features that change a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from fitcalc.errors import InvalidValue
from fitcalc.inputs.speculation import Speculation

_FEATURES = "Features"


def read_speculation(
    *,
    speculative: Annotated[
        str | None,
        typer.Option(
            help="Cost speculative decoding besides: eagle3, eagle, mtp or ngram.",
            rich_help_panel=_FEATURES,
        ),
    ] = None,
    num_speculative_tokens: Annotated[
        int | None,
        typer.Option(help="Tokens drafted for each that is sure.", rich_help_panel=_FEATURES),
    ] = None,
    acceptance: Annotated[
        float | None,
        typer.Option(
            help="Share of drafted tokens that the model keeps, as measured on your text: 0.7.",
            rich_help_panel=_FEATURES,
        ),
    ] = None,
    spec_model: Annotated[
        str | None,
        typer.Option(help="Checkpoint that drafts.", rich_help_panel=_FEATURES),
    ] = None,
) -> Speculation | None:
    """Read the options about speculative decoding.

    Raises:
        InvalidValue: one is missing beside the others.
    """
    given = {"num_speculative_tokens": num_speculative_tokens, "acceptance": acceptance}
    if speculative is None:
        alone = next((name for name, x in {**given, "spec_model": spec_model}.items() if x), None)
        if alone is not None:
            raise InvalidValue("speculative", "nothing", f"name who drafts beside {alone}")
        return None
    for name, value in given.items():
        if value is None:
            raise InvalidValue(name, "nothing", "give it beside speculative: it differs by text")
    return Speculation(method=speculative, **given, model=spec_model or "")


@dataclass(frozen=True, slots=True)
class Lora:
    """LoRA adapters: vLLM's settings for them, and how many there are."""

    settings: dict[str, object]
    number: int | None


def read_lora(
    *,
    num_adapters: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="LoRA adapters to serve; costs a merged model for each besides.",
            rich_help_panel=_FEATURES,
        ),
    ] = None,
    max_loras: Annotated[
        int | None,
        typer.Option(
            help="LoRA adapters in a batch (default --num-adapters).", rich_help_panel=_FEATURES
        ),
    ] = None,
    max_lora_rank: Annotated[
        int | None,
        typer.Option(help="Their highest rank (default 16).", rich_help_panel=_FEATURES),
    ] = None,
) -> Lora:
    """Read the options about adapters.

    Raises:
        InvalidValue: a rank alone.
    """
    slots = max_loras or num_adapters
    if slots is None:
        if max_lora_rank is not None:
            fix = "give max_loras or num_adapters beside it"
            raise InvalidValue("max_lora_rank", max_lora_rank, fix)
        return Lora({}, None)
    settings: dict[str, object] = {"enable_lora": True, "max_loras": slots}
    if max_lora_rank is not None:
        settings["max_lora_rank"] = max_lora_rank
    return Lora(settings, num_adapters)
