"""A plan's question, checked: limits that make sense, GPU types on sale, the longest request."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fitcalc.catalog.gpu import Gpu, gpu_ids, load_gpus, resolve_gpu
from fitcalc.catalog.model import LlmModel
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.market import Market

_MOST_HEADROOM = 0.9
_MOST_SHARE = 0.9


def check_limits(
    max_gpus: int | None,
    budget: float | None,
    headroom: float | None,
    min_quality: float | None,
    top: int,
) -> None:
    """Refuse limits that make no sense."""
    if max_gpus is not None and max_gpus < 1:
        raise InvalidValue("max_gpus", max_gpus, "give at least 1 GPU")
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        raise InvalidValue("budget", budget, "give a number of USD an hour above 0")
    if headroom is not None and not 0 <= headroom <= _MOST_HEADROOM:
        raise InvalidValue("headroom", headroom, f"give a share from 0 to {_MOST_HEADROOM}")
    if min_quality is not None and not 0 < min_quality <= 1:
        raise InvalidValue("min_quality", min_quality, "give a share such as 0.99 or 99%")
    if top < 1:
        raise InvalidValue("top", top, "give at least 1")


def check_share(share: float | None) -> None:
    """Refuse a sensitivity that makes no sense."""
    if share is not None and not 0 < share <= _MOST_SHARE:
        raise InvalidValue("sensitivity", share, f"give a share above 0, up to {_MOST_SHARE}")


def cards_to_try(
    gpus: Sequence[str] | None, exclude: Sequence[str], sold: Market | None
) -> tuple[Gpu, ...]:
    """Return the GPU types to try; ``sold`` = only those on sale there.

    Raises:
        InvalidValue: none is left, or one that was named is not on sale.
    """
    out = {resolve_gpu(name) for name in exclude}
    wanted = [resolve_gpu(name) for name in gpus] if gpus else list(gpu_ids())
    kept = [name for name in dict.fromkeys(wanted) if name not in out]
    if sold is not None:
        missing = [name for name in kept if not sold.of(name)]
        if gpus and missing:
            known = ", ".join(sorted(sold.by_gpu))
            fix = f"it is not on sale at these terms, cloud and region; on sale are {known}"
            raise InvalidValue("gpu", missing[0], fix)
        kept = [name for name in kept if sold.of(name)]
    if not kept:
        raise InvalidValue("gpu", ", ".join(wanted[:5]), "leave at least one GPU type to try")
    return load_gpus(kept)


def check_adapters(number: int | None, engine: EngineArgs) -> None:
    """Refuse a number of adapters that no server has slots for.

    Raises:
        InvalidValue: it makes no sense.
    """
    if number is not None and number < 1:
        raise InvalidValue("num_adapters", number, "give 1 or more")
    if number is not None and not engine.enable_lora:
        raise InvalidValue("num_adapters", number, "set enable_lora and max_loras beside it")


def with_length(engine: EngineArgs, model: LlmModel, traffic: Traffic) -> EngineArgs:
    """Set max_model_len to what the traffic needs, where it is open. [tokens]"""
    longest = engine.max_model_len or traffic.longest
    most = model.max_position_embeddings
    if longest > most:
        fix = f"{model.id} takes at most {most:,} tokens, input and output together"
        raise InvalidValue("ctx", longest, fix)
    if traffic.longest > longest:
        fix = f"isl + osl come to {traffic.longest:,} tokens; raise it to that"
        raise InvalidValue("max_model_len", longest, fix)
    return engine.replace(max_model_len=longest)
