"""The fields of a scenario that a sweep can change, and the questions that they matter to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Deployment
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic

Field: TypeAlias = tuple[str, ...]
"""A field's sections and name, such as ``("traffic", "qps")``."""


class Ask(StrEnum):
    """Which question a sweep asks of every scenario."""

    PLAN = "plan"
    PREDICT = "predict"
    SIMULATE = "simulate"
    FIT = "fit"


_LENGTHS = ("ctx", "isl", "osl")
FIELDS: tuple[Field, ...] = (
    ("model",),
    *(("traffic", name) for name in (*Traffic.model_fields, "ctx")),
    *(("traffic", name, part) for name in ("isl", "osl") for part in Lengths.model_fields),
    *(("slo", name) for name in Slo.model_fields),
    *(("engine", name) for name in EngineArgs.model_fields),
    *(("deployment", name) for name in Deployment.model_fields),
    *(("plan", name) for name in PlanLimits.model_fields),
)
"""Every field of a scenario file."""
LISTS: tuple[Field, ...] = (("plan", "gpus"), ("plan", "exclude_gpus"), ("plan", "quantization"))
"""Fields that hold several names: ``h100+h200`` is one value of two."""
_SHORT = {
    "tp": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "dp": "data_parallel_size",
    "ttft": "ttft_ms",
    "itl": "itl_ms",
    "e2e": "e2e_ms",
    "budget": "budget_usd_per_hour",
}
_CHOSEN = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_num_seqs",
    "max_num_batched_tokens",
    "quantization",
    "dtype",
)
"""Settings that a plan chooses itself."""


def field_named(name: str, ask: Ask) -> Field:
    """Return the field that ``traffic.qps``, or ``qps`` alone, means in a question.

    Raises:
        UnknownName: there is none.
        InvalidValue: the question does not depend on it.

    Examples:
        >>> field_named("tp", Ask.PREDICT), field_named("gpu", Ask.PLAN)
        (('engine', 'tensor_parallel_size'), ('plan', 'gpus'))
    """
    *sections, last = name.replace("-", "_").split(".")
    last = _SHORT.get(last, last)
    if [*sections, last] == ["model", "name"]:
        return ("model",)
    if ask is Ask.PLAN and not sections and last == "gpu":
        last = "gpus"
    asked = (*sections, last)
    found = [f for f in FIELDS if f == asked or (not sections and len(f) < 3 and f[-1] == last)]
    if not found:
        known = [".".join(f) for f in FIELDS]
        raise UnknownName("field", name, known, "name one such as traffic.qps.")
    able = [f for f in found if not idle(f, ask)]
    if not able:
        raise InvalidValue("field", ".".join(found[0]), idle(found[0], ask))
    return able[0]


def idle(field: Field, ask: Ask) -> str:
    """Say why a field changes nothing about a question; nothing where it does.

    Examples:
        >>> idle(("plan", "headroom"), Ask.FIT)
        'fit does not depend on [plan]; ask plan'
    """
    section = field[0]
    if ask is Ask.PLAN:
        if section == "deployment":
            return "plan does not depend on [deployment]; ask predict, or set plan.gpus"
        chosen = section == "engine" and field[1] in _CHOSEN
        return "a plan chooses it; ask predict, or set a field of [plan]" if chosen else ""
    if section == "plan":
        return f"{ask} does not depend on [plan]; ask plan"
    if ask is Ask.FIT and not _holds_memory(field):
        return "fit does not depend on it; ask predict"
    return ""


def _holds_memory(field: Sequence[str]) -> bool:
    section, name = field[0], field[-1]
    if section == "traffic":
        return name in _LENGTHS
    return section in {"model", "engine"} or name == "gpu"
