"""``fitcalc.lock``: what each scenario asked and what answered it, and with which tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from fitcalc.answers import Row
from fitcalc.catalog.model import load_model
from fitcalc.catalog.version import fingerprints
from fitcalc.errors import InvalidValue
from fitcalc.inputs.scenario import Scenario
from fitcalc.inputs.scenario_file import ONLY, ScenarioFile
from fitcalc.planning.check import Check
from fitcalc.planning.choice import Plan
from fitcalc.planning.served import Served, of_choice
from fitcalc.units import MIB

_MOST_BYTES = 16 * MIB
Cell = str | int | float | bool | None


class LockedScenario(Row):
    """A scenario as it was asked, flat, and what served it."""

    question: dict[str, Cell]
    ok: bool
    served: Served | None


class Lock(Row):
    """The answers of a file, and what they were made with.

    Attributes:
        lock: Version of this format.
        made_with: fitcalc's version, and a digest of each kind of table.
        scenarios: By name.
    """

    lock: Literal[1] = 1
    made_with: dict[str, str] = Field(default_factory=dict)
    scenarios: dict[str, LockedScenario]

    def text(self) -> str:
        """Return the file: one field a line, sorted, so that a diff is read with ease."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def lock_of(file: ScenarioFile, checks: Iterable[Check]) -> Lock:
    """Return the lock of a file's answers."""
    asked = {one.name: one.asked for one in file.scenarios}
    return Lock(
        made_with=fingerprints(),
        scenarios={
            one.name: LockedScenario(
                question=question_of(asked[one.name]), ok=one.ok, served=rounded(one.served)
            )
            for one in checks
        },
    )


def read_lock(path: Path, field: str = "lock") -> Lock:
    """Read a lock, or the plan that ``fitcalc plan --json`` printed.

    Raises:
        InvalidValue: it cannot be read, or is neither.
    """
    fix = "give what fitcalc lock wrote, or the output of fitcalc plan --json"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidValue(field, path, fix)
        table = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(table, Mapping) and "best" in table:
            return _of_plan(table)
        return Lock.model_validate(table)
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(field, path, fix) from None


def question_of(asked: Scenario) -> dict[str, Cell]:
    """Return a scenario's fields by dotted name; defaults are left out.

    The model stands by its id: an alias may come to mean another.
    """
    cells = asked.model_dump(mode="json", exclude_defaults=True)
    return {**flat(cells), "model": load_model(asked.model).id}


def flat(cells: Mapping[str, object], before: str = "") -> dict[str, Cell]:
    """Return nested fields by dotted name; lists as words.

    Examples:
        >>> flat({"slo": {"ttft_ms": 5.0}, "gpus": ["a", "b"]})
        {'slo.ttft_ms': 5.0, 'gpus': 'a, b'}
    """
    found: dict[str, Cell] = {}
    for name, value in cells.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        elif isinstance(value, list | tuple):
            found[f"{before}{name}"] = ", ".join(map(str, value))
        elif value is None or isinstance(value, str | int | float | bool):
            found[f"{before}{name}"] = value
        else:
            found[f"{before}{name}"] = str(value)
    return found


def rounded(one: Served | None) -> Served | None:
    """Keep six figures: the last bits of a number differ from processor to processor."""
    if one is None:
        return None
    cells = one.model_dump()
    short = {k: float(f"{v:.6g}") for k, v in cells.items() if isinstance(v, float)}
    return one.model_copy(update=short)


def _of_plan(table: Mapping[str, object]) -> Lock:
    """Read a plan as the lock of a file with one scenario."""
    plan = Plan.model_validate({k: v for k, v in table.items() if k != "made_with"})
    asked = plan.question
    cells = {
        "model": asked.model,
        "traffic": asked.traffic.model_dump(mode="json", exclude_defaults=True),
        "slo": asked.slo.model_dump(mode="json"),
        "plan.max_gpus": asked.max_gpus,
        "plan.budget_usd_per_hour": asked.budget_usd_per_hour,
    }
    made_with = table.get("made_with")
    served = of_choice(plan.best, asked.slo) if plan.best else None
    locked = LockedScenario(question=flat(cells), ok=plan.best is not None, served=rounded(served))
    return Lock.model_validate({"made_with": made_with or {}, "scenarios": {ONLY: locked}})
