"""What a format costs in quality, and which formats keep enough of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from fitcalc.catalog.formats import KvFormat, WeightFormat
from fitcalc.catalog.model import LlmModel
from fitcalc.catalog.quality import Part, checkpoints, recovery
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.planning.candidates import few_bit_formats, kv_formats
from fitcalc.planning.judged import Judged, Quality
from fitcalc.planning.kept import weight_formats
from fitcalc.planning.setup import own_formats

_WHOLE_BITS = 16.0
_PERCENT = 100.0
_Format = TypeVar("_Format", WeightFormat, KvFormat)


def quality_of(model: LlmModel, weight: WeightFormat, kv: KvFormat) -> Quality:
    """Judge a model's formats by what others published."""
    own = (model.hf_id,) if weight.id in own_formats(model) and model.hf_id else ()
    return Quality(
        weights=judged_weights(model, weight),
        kv_cache=judged_kv(model, kv),
        checkpoints=(*own, *checkpoints(model.id).get(weight.id, ())),
    )


def judged_weights(model: LlmModel, weight: WeightFormat) -> Judged:
    """Judge a weight format: the model's own checkpoint and 16 bits lose nothing."""
    whole = weight.bits >= _WHOLE_BITS or weight.id in own_formats(model)
    return _whole(weight.id) if whole else _judged("weights", model, weight.id)


def judged_kv(model: LlmModel, kv: KvFormat) -> Judged:
    """Judge a KV format: what the checkpoint itself asks for and 16 bits lose nothing."""
    own = model.quantization.kv_format if model.quantization else None
    whole = kv.bytes_per_element >= 2 or kv.id == own
    return _whole(kv.id) if whole else _judged("kv", model, kv.id)


def formats_to_try(
    model: LlmModel, engine: EngineArgs, wanted: Sequence[str] | None, floor: float | None
) -> tuple[tuple[WeightFormat, ...], tuple[WeightFormat, ...]]:
    """Return the weight formats to try, and those for when nothing of them serves.

    Formats that take another checkpoint, and some quality, only where nothing else serves; with a
    floor for the quality, it alone decides.

    Args:
        model: The model.
        engine: Settings that every candidate keeps.
        wanted: Formats that were asked for.
        floor: Least recovery; ``None`` = any. [1]
    """
    tried = weight_formats(model, wanted, engine)
    named = wanted or engine.quantization or model.quantization
    more = () if named else few_bit_formats()
    if floor is None:
        return tried, more
    return _enough((*tried, *more), [judged_weights(model, f) for f in (*tried, *more)], floor), ()


def kvs_to_try(model: LlmModel, asked: str, floor: float | None) -> tuple[KvFormat, ...]:
    """Return the KV formats to try; ``floor`` as in ``formats_to_try``."""
    tried = kv_formats(model, asked)
    return tried if floor is None else _enough(tried, [judged_kv(model, f) for f in tried], floor)


def _enough(
    formats: Sequence[_Format], verdicts: Sequence[Judged], floor: float
) -> tuple[_Format, ...]:
    """Keep the formats whose published recovery is not below the floor."""
    pairs = zip(formats, verdicts, strict=True)
    kept = tuple(f for f, v in pairs if v.recovery is not None and v.recovery >= floor)
    if not kept:
        said = ", ".join(f"{v.format} {_known(v)}" for v in verdicts)
        fix = f"no format asked for is known to keep it ({said}); lower it or allow other formats"
        raise InvalidValue("min_quality", f"{_PERCENT * floor:g}%", fix)
    return kept


def _known(verdict: Judged) -> str:
    share = verdict.recovery
    return "unknown" if share is None else f"{_PERCENT * share:.4g}%"


def _whole(format_id: str) -> Judged:
    return Judged(format=format_id, recovery=1.0)


def _judged(part: Part, model: LlmModel, format_id: str) -> Judged:
    found = recovery(part, format_id, model.id, model.total_params, moe=model.is_moe)
    if found is None:
        return Judged(format=format_id, recovery=None)
    return Judged(
        format=format_id,
        recovery=found.share,
        benchmark=found.benchmark,
        measured_on=found.model,
        source=found.source,
    )
