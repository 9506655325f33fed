"""What a sweep asks: a scenario with some fields changed, in every combination."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import TypeAlias

from fitcalc.catalog.config_files import looks_like_path
from fitcalc.catalog.gpu import resolve_gpu
from fitcalc.catalog.mig import load_device
from fitcalc.catalog.model import load_model
from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.inputs.scenario import Scenario, Server, scenario_of, server_of
from fitcalc.inputs.toml_file import Table
from fitcalc.planning.fields import LISTS, Ask, Field, field_named

Cell: TypeAlias = bool | int | float | str | None
"""A value of a setting as an answer shows it; ``None`` = left open."""
Over: TypeAlias = Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]]
"""Values of each field, in every combination; or the settings of each scenario."""
_MOST = 100_000
_OPEN = "none"
_DIGITS = 16
_INSTEAD: dict[Field, str] = {("traffic", "qps"): "concurrency", ("traffic", "concurrency"): "qps"}
"""A load is one of the two: the field that is set takes the other's place."""


@dataclass(frozen=True, slots=True)
class Point:
    """One scenario of a sweep.

    Attributes:
        key: Fingerprint of the question and the tables: equal for equal questions only.
        settings: What sets it apart, by field.
        question: The scenario as parsed from a file; empty where it makes no sense.
        error: Why it makes no sense.
    """

    key: str
    settings: dict[str, Cell]
    question: Table
    error: str


def points(base: Table, over: Over, ask: Ask, *, tables: str, seed: int) -> tuple[Point, ...]:
    """Return the scenarios of a sweep; those that make no sense say why.

    Args:
        base: What all have in common, as parsed from a scenario file.
        over: Fields and their values.
        ask: Which question.
        tables: Fingerprint of the tables.
        seed: Of every simulation.

    Raises:
        FitcalcError: a field is unknown or does not matter to the question, or nothing makes sense.
    """
    made = _Maker(ask, tables, seed, {})
    found = tuple(made.point(base, settings) for settings in _settings(over, ask))
    if all(point.error for point in found):
        raise FitcalcError(found[0].error)
    return found


def _settings(over: Over, ask: Ask) -> list[dict[Field, object]]:
    """Return what is set in each scenario."""
    if not isinstance(over, Mapping):
        some = [_by_field(one, ask) for one in over]
    else:
        values = {field: _several(field, v) for field, v in _by_field(over, ask).items()}
        size = math.prod(map(len, values.values()))
        if size > _MOST:
            raise InvalidValue("scenarios", size, f"sweep at most {_MOST:,} at once")
        some = [dict(zip(values, one, strict=True)) for one in product(*values.values())]
    if not 0 < len(some) <= _MOST:
        raise InvalidValue("scenarios", len(some), f"sweep from 1 to {_MOST:,} at once")
    return some


def _several(field: Field, values: object) -> Sequence[object]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InvalidValue(".".join(field), values, "give a list of values")
    return values


def _by_field(given: Mapping[str, object], ask: Ask) -> dict[Field, object]:
    made: dict[Field, object] = {}
    for name, value in given.items():
        field = field_named(name, ask)
        if field in made:
            raise InvalidValue(name, value, f"give {'.'.join(field)} once")
        made[field] = value
    return made


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes points; remembers what it knows of names."""

    ask: Ask
    tables: str
    seed: int
    names: dict[tuple[str, ...], tuple[str, str]]

    def point(self, base: Table, settings: Mapping[Field, object]) -> Point:
        shown = {".".join(field): _cell(value) for field, value in settings.items()}
        try:
            table = question_of(base, settings, self.ask)
            asked = server_of(table) if self.ask is Ask.FIT else scenario_of(table)
            error, config = self._named(asked)
            content = asked.model_dump_json()
        except FitcalcError as mistake:
            table, error, config = {}, str(mistake), ""
            content = json.dumps(shown)
        whole = json.dumps([self.ask, content, config, error, self.seed, self.tables])
        key = sha256(whole.encode()).hexdigest()[:_DIGITS]
        return Point(key, shown, {} if error else table, error)

    def _named(self, asked: Scenario | Server) -> tuple[str, str]:
        """Say what is wrong with the names, if anything, and digest a model that is a file."""
        gpus: tuple[str, ...] = (asked.deployment.gpu,) if asked.deployment else ()
        if isinstance(asked, Scenario) and asked.plan is not None:
            gpus = (*(asked.plan.gpus or ()), *asked.plan.exclude_gpus)
        names = (asked.model, *gpus)
        if names not in self.names:
            try:
                load_model(asked.model)
                for gpu in gpus:
                    (resolve_gpu if self.ask is Ask.PLAN else load_device)(gpu)
                self.names[names] = "", _config_digest(asked.model)
            except FitcalcError as mistake:
                self.names[names] = str(mistake), ""
        return self.names[names]


def question_of(base: Table, settings: Mapping[Field, object], ask: Ask) -> dict[str, object]:
    """Return the scenario as a file would say it.

    Raises:
        InvalidValue: a section is none, or no GPU is named.
    """
    table = {name: dict(one) if isinstance(one, Mapping) else one for name, one in base.items()}
    for field, value in settings.items():
        _set(table, field, value)
    if ask is Ask.PLAN:
        table.pop("deployment", None)
        table.setdefault("plan", {})
    else:
        table.pop("plan", None)
        if "deployment" not in table:
            raise InvalidValue("deployment.gpu", None, "name the GPU, such as gpu=h100")
    return table


def _set(table: dict[str, object], field: Field, value: object) -> None:
    inner = table
    for name in field[:-1]:
        below = inner.get(name, {})
        if not isinstance(below, Mapping):
            fix = "write it as a table in the scenario to change a field of it"
            raise InvalidValue(".".join(field[:-1]), below, fix)
        copied = dict(below)
        inner[name] = copied
        inner = copied
    inner.pop(_INSTEAD.get(field, ""), None)
    if value is None or value == _OPEN:
        inner.pop(field[-1], None)
    elif field in LISTS and isinstance(value, str):
        inner[field[-1]] = [part.strip() for part in value.split("+")]
    else:
        inner[field[-1]] = value


def _cell(value: object) -> Cell:
    """Show a value as JSON would: numbers as numbers, what is neither as text."""
    if value is None or value == _OPEN:
        return None
    if isinstance(value, bool | int):
        return value
    text = str(value) if isinstance(value, str | float) else json.dumps(value, default=str)
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            read = kind(text)
        except ValueError:
            continue
        return read if math.isfinite(read) else text
    return text


def _config_digest(model: str) -> str:
    """Digest a model that is a file or a folder: its name does not say what it holds."""
    if not looks_like_path(model):
        return ""
    path = Path(model)
    path = path / "config.json" if path.is_dir() else path
    return sha256(path.read_bytes()).hexdigest()
