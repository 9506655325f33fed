"""From what people call a model to its table, and to the format its name tells of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from fitcalc.catalog.architectures.parts import CheckpointQuantization
from fitcalc.catalog.tables import Toml, read_toml, root
from fitcalc.errors import InvalidValue, UnknownName

HINT = "give the path of the model's config.json instead, or see `fitcalc models`."
_SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The table of a model, and the quantization its name tells of.

    ``plain``: the name says that nothing is quantized, whatever the table's config says.
    """

    id: str
    quantization: CheckpointQuantization | None = None
    plain: bool = False


def readable(name: str) -> str:
    """Return a name in lower case with dashes for underscores and spaces."""
    return re.sub(r"[\s_-]+", "-", name.strip().lower())


def squashed(name: str) -> str:
    """Return a name without case, dashes, underscores and spaces.

    Examples:
        >>> squashed("Llama_3.1 70B-Instruct") == squashed("llama-3.1-70b-instruct")
        True
    """
    return readable(name).replace("-", "")


@lru_cache(maxsize=1)
def model_ids() -> tuple[str, ...]:
    """Names of all model tables, sorted."""
    names = (path.name for path in root().joinpath("models_db", "models").iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@lru_cache(maxsize=1)
def aliases() -> Mapping[str, str]:
    """Every name in its readable form, and the table it stands for; tables' own names included."""
    table = cast("Mapping[str, str]", read_toml("models_db", "aliases.toml")["aliases"])
    return {**table, **{name: name for name in model_ids()}}


@lru_cache(maxsize=1)
def _index() -> Mapping[str, str]:
    return {squashed(alias): name for alias, name in aliases().items()}


@lru_cache(maxsize=1)
def _variants() -> tuple[Toml, ...]:
    return tuple(cast("Iterable[Toml]", read_toml("models_db", "variants.toml")["variant"]))


@lru_cache(maxsize=256)
def resolve(name: str) -> Resolved:
    """Find the table of a name: an alias, a table's name, a hub id, or a quantized variant of one.

    Raises:
        UnknownName: no table fits; the nearest names are offered.
        InvalidValue: a variant in a format that vLLM or fitcalc does not have.
    """
    owner, _, base = readable(name).rpartition("/")
    found = _index().get(squashed(base))
    if found is not None:
        return Resolved(found)
    for row in _variants():
        for suffix in cast("list[str]", row["suffixes"]):
            if not base.endswith((f"-{suffix}", f".{suffix}")):
                continue
            stem = _index().get(squashed(base[: -len(suffix)]))
            if stem is not None and _fits(row, owner, stem):
                return _variant(row, name, stem)
    raise UnknownName("model", name, aliases(), HINT)


def _fits(row: Toml, owner: str, stem: str) -> bool:
    owners = cast("list[str] | None", row.get("owners"))
    models = cast("str | None", row.get("models"))
    return (owners is None or owner in owners) and (models is None or bool(re.match(models, stem)))


@lru_cache(maxsize=1024)
def usually_ignored(model_id: str, weight_format: str) -> tuple[str, ...]:
    """Return what checkpoints of a model in another format than its own leave in 16 bits.

    This is the first row of variants.toml with that format that holds for the model and any owner.

    Examples:
        >>> usually_ignored("deepseek-r1", "nvfp4")
        ('lm_head', 're:.*self_attn.*')
    """
    for row in _variants():
        if row.get("format") == weight_format and _fits(row, "", model_id):
            return tuple(cast("list[str]", row.get("ignore", [])))
    return ()


def _variant(row: Toml, name: str, stem: str) -> Resolved:
    if "refused" in row:
        raise InvalidValue("model", name, str(row["refused"]))
    if not row["method"]:
        return Resolved(stem, plain=True)
    return Resolved(
        stem,
        CheckpointQuantization(
            format=str(row["format"]),
            method=str(row["method"]),
            group_size=cast("int | None", row.get("group_size")),
            ignore=tuple(cast("list[str]", row.get("ignore", []))),
            kv_format=cast("str | None", row.get("kv_format")),
        ),
    )


def search_models(text: str) -> tuple[str, ...]:
    """Names of the tables that this text is part of, by name or alias, sorted.

    Examples:
        >>> search_models("gpt-oss")
        ('gpt-oss-120b', 'gpt-oss-20b')
    """
    wanted = squashed(text)
    return tuple(sorted({name for alias, name in _index().items() if wanted in alias}))
