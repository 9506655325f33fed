"""``fitcalc.toml``: one scenario, or several by name; a mistake is told with file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fitcalc.errors import FitcalcError, InvalidValue, MistakeInFile, UnknownName
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import SECTIONS, Deployment, Scenario, scenario_of
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.toml_file import Table, read_toml
from fitcalc.inputs.toml_lines import line_at, lines_of
from fitcalc.inputs.traffic import Traffic

ONLY = "default"
"""Name of the scenario of a file that names none."""
_NAMED = "scenario"
_ONE_OF: tuple[frozenset[str], ...] = (
    frozenset({"ctx", "isl", "osl"}),
    frozenset({"qps", "concurrency"}),
)
"""Fields that stand for each other: one of them replaces what the file says for all."""
_KINDS = {
    "gpu": ("deployment.gpu", "plan.gpus", "plan.exclude_gpus"),
    "format": ("plan.quantization", "engine.quantization"),
    "kv cache format": ("engine.kv_cache_dtype",),
    "cloud": ("plan.cloud",),
    "region": ("plan.region",),
}
"""Where the name of a thing that no table holds may stand."""
_FIELDS: dict[str, tuple[str, ...]] = {
    "deployment": tuple(Deployment.model_fields),
    "plan": tuple(PlanLimits.model_fields),
    "traffic": (*Traffic.model_fields, "ctx"),
    "slo": tuple(Slo.model_fields),
    "engine": tuple(EngineArgs.model_fields),
}
_ENDINGS = ("", "s", "_ms", "_usd_per_hour")
"""What a field's name may end with beside the word that a complaint uses."""


@dataclass(frozen=True, slots=True)
class NamedScenario:
    """A scenario of a file, and the line it begins on."""

    name: str
    asked: Scenario
    line: int


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """The scenarios of a file, and where each of their fields stands."""

    path: Path
    scenarios: tuple[NamedScenario, ...]
    lines: Mapping[tuple[str, ...], int]

    def only(self, names: Sequence[str]) -> tuple[NamedScenario, ...]:
        """Return the scenarios of some names; of none, all.

        Raises:
            UnknownName: the file has no such scenario.
        """
        known = {one.name: one for one in self.scenarios}
        for name in names:
            if name not in known:
                raise UnknownName(_NAMED, name, known, f"{self.path} has {', '.join(known)}.")
        return tuple(known[name] for name in names) or self.scenarios

    def line(self, name: str, field: str) -> int:
        """Return the line of a scenario's field, or of what is nearest to it."""
        return line_of(self.lines, name, InvalidValue(field, None, ""))

    def mistake(self, name: str, error: FitcalcError) -> MistakeInFile:
        """Return a complaint about a scenario with the line of the field that it is about."""
        if isinstance(error, MistakeInFile):
            return error
        return MistakeInFile(self.path, line_of(self.lines, name, error), str(error))


def read_scenarios(path: Path) -> ScenarioFile:
    """Read every scenario of a file.

    ``[scenario.NAME]`` holds the sections of one scenario; sections outside are shared by all.

    Raises:
        FitcalcError: the file cannot be read, or says what makes no sense, and on which line.
    """
    table, text = read_toml(path, "scenario")
    lines = lines_of(text)
    shared = {name: section for name, section in table.items() if name != _NAMED}
    named = table.get(_NAMED, {ONLY: {}})
    if not isinstance(named, Mapping) or not named:
        said = InvalidValue(_NAMED, named, "write [scenario.NAME] and its sections below it")
        raise MistakeInFile(path, lines.get((_NAMED,), 1), str(said))
    found = []
    for name, own in cast("Table", named).items():
        try:
            asked = _beside(path, scenario_of(_over(shared, own, name)))
        except FitcalcError as error:
            raise MistakeInFile(path, line_of(lines, name, error), str(error)) from None
        found.append(NamedScenario(name, asked, lines.get((_NAMED, name), 1)))
    return ScenarioFile(path, tuple(found), lines)


def read_scenario(path: Path) -> Scenario:
    """Read the one scenario of a file.

    Raises:
        FitcalcError: as ``read_scenarios``, or the file holds several.
    """
    found = read_scenarios(path).scenarios
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise InvalidValue(
            "scenario", path, f"it holds several ({names}); read_scenarios reads all"
        )
    return found[0].asked


def _beside(path: Path, asked: Scenario) -> Scenario:
    """Find what is named relative to the file."""
    return asked if asked.plan is None else asked.replace(plan=asked.plan.beside(path.parent))


def line_of(lines: Mapping[tuple[str, ...], int], name: str, error: FitcalcError) -> int:
    """Find the line that a complaint is about: the field's, its section's, the scenario's."""
    own = {path[2:]: line for path, line in lines.items() if path[:2] == (_NAMED, name)}
    shared = {path: line for path, line in lines.items() if path[0] != _NAMED}
    fields = _fields(error)
    for places in (own, shared):
        if found := next((places[field] for field in fields if field in places), None):
            return found
    around = (line_at(places, field) for places in (own, shared) for field in fields)
    return next((line for line in around if line is not None), own.get((), 1))


def _fields(error: FitcalcError) -> tuple[tuple[str, ...], ...]:
    """Return the paths that a complaint may be about, the likeliest first."""
    if isinstance(error, UnknownName):
        kind = error.kind.lower()
        return tuple(tuple(name.split(".")) for name in _KINDS.get(kind, (kind,)))
    if not isinstance(error, InvalidValue):
        return (("model",),)
    path = tuple(error.field.strip("[]").split("."))
    names = {f"{path[0]}{ending}" for ending in _ENDINGS}
    inside = ((section, name) for section in _FIELDS for name in _FIELDS[section] if name in names)
    return (path, *inside)


def _over(shared: Table, own: object, name: str) -> Table:
    """Return the sections of a scenario, its own fields over those that the file shares."""
    if not isinstance(own, Mapping):
        raise InvalidValue(name, own, f"write [scenario.{name}] and its sections below it")
    merged: dict[str, object] = dict(shared)
    for section, fields in cast("Table", own).items():
        base = shared.get(section)
        if section in SECTIONS and isinstance(base, Mapping) and isinstance(fields, Mapping):
            replaced = {f for group in _ONE_OF if group & set(fields) for f in group}
            kept = {key: value for key, value in base.items() if key not in replaced}
            merged[section] = {**kept, **fields}
        else:
            merged[section] = fields
    return merged
