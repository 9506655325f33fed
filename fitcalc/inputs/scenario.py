"""A scenario file: the question that a CI job asks on every change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from pydantic import Field, model_validator

from fitcalc.errors import InvalidValue
from fitcalc.inputs.context import request_length
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.question import Question
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.toml_file import Table, lengths_of, tokens_of
from fitcalc.inputs.traffic import Traffic

SECTIONS = ("model", "traffic", "slo", "engine", "deployment", "plan")
"""What a scenario file may hold."""


class Deployment(Question):
    """A deployment that exists or is proposed.

    Attributes:
        gpu: Table id, alias or driver's name.
        replicas: Servers behind the router. [1]
    """

    gpu: str
    replicas: int = Field(default=1, ge=1, le=100_000)


class Scenario(Question):
    """A promise, and a deployment or the limits of a plan that must keep it.

    With both, the deployment is the pinned choice: it must keep the promise and the limits.

    Attributes:
        model: Alias, table id, Hugging Face id, or path to a config.json or its folder.
        traffic: The whole load, over all replicas.
        slo: The promise.
        engine: vLLM's settings.
        deployment: What is checked as it stands.
        plan: What a plan may use.
    """

    model: str
    traffic: Traffic
    slo: Slo = Slo()
    engine: EngineArgs = EngineArgs()
    deployment: Deployment | None = None
    plan: PlanLimits | None = None

    @model_validator(mode="after")
    def _something_to_check(self) -> Scenario:
        if self.deployment is None and self.plan is None:
            fix = "give a [deployment] to check, or a [plan] with what a plan may use"
            raise InvalidValue("deployment", None, fix)
        return self


class Server(Question):
    """What one server's memory depends on: nobody's rate and no promise.

    Attributes:
        model: As in ``Scenario``.
        deployment: The GPU.
        engine: vLLM's settings.
    """

    model: str
    deployment: Deployment
    engine: EngineArgs = EngineArgs()


def scenario_of(table: Table, where: str = "scenario") -> Scenario:
    """Read a scenario from a parsed file; ``where`` names it in a complaint.

    Raises:
        InvalidValue: a section or a field makes no sense; its name begins with the section's.
    """
    _check_sections(table, where)
    model = _model(table)
    with _in("traffic"):
        traffic, longest = _traffic(_section(table, "traffic"))
    with _in("slo"):
        slo = Slo(**_section(table, "slo"))
    with _in("engine"):
        engine = _engine(table, longest)
    with _in("deployment"):
        pinned = Deployment(**_section(table, "deployment")) if "deployment" in table else None
    with _in("plan"):
        limits = PlanLimits(**_section(table, "plan")) if "plan" in table else None
    return Scenario(
        model=model, traffic=traffic, slo=slo, engine=engine, deployment=pinned, plan=limits
    )


def server_of(table: Table, where: str = "scenario") -> Server:
    """Read one server from a parsed file; of the load only the longest request counts.

    Raises:
        InvalidValue: a section or a field makes no sense.
    """
    _check_sections(table, where)
    traffic = _section(table, "traffic")
    lengths = [traffic.get(name) for name in ("ctx", "isl", "osl")]
    if any(isinstance(value, Mapping) for value in lengths):
        longest = tokens_of("ctx", lengths[0])
    elif lengths == [None, None, None]:
        longest = None
    else:
        tokens = zip(("ctx", "isl", "osl"), lengths, strict=True)
        longest = request_length(*(tokens_of(name, value) for name, value in tokens)).longest
    return Server(
        model=_model(table),
        deployment=Deployment(**_section(table, "deployment")),
        engine=_engine(table, longest),
    )


@contextmanager
def _in(section: str) -> Iterator[None]:
    """Say in which section a field is wrong."""
    try:
        yield
    except InvalidValue as wrong:
        field = wrong.field if wrong.field == section else f"{section}.{wrong.field}"
        raise InvalidValue(field, wrong.value, wrong.fix) from None


def _check_sections(table: Table, where: str) -> None:
    """Refuse a section that there is not, and offer those that there are."""
    for name, value in table.items():
        if name not in SECTIONS:
            what = f"[{name}]" if isinstance(value, Mapping) else name
            fix = f"{where} has no such section; use {', '.join(SECTIONS)}"
            raise InvalidValue(what, "" if isinstance(value, Mapping) else value, fix)


def _engine(table: Table, longest: int | None) -> EngineArgs:
    """Read vLLM's settings; the longest request stands for an open max_model_len."""
    return EngineArgs(
        **{**({"max_model_len": longest} if longest else {}), **_section(table, "engine")}
    )


def _section(table: Table, name: str) -> dict[str, object]:
    section = table.get(name, {})
    if not isinstance(section, Mapping):
        raise InvalidValue(name, section, f"write [{name}] and its fields below it")
    return dict(cast("Table", section))


def _model(table: Table) -> str:
    """Read ``model = "70b"`` or ``[model] name = "70b"``."""
    model = table.get("model")
    if isinstance(model, Mapping):
        unknown = sorted(set(model) - {"name"})
        if unknown:
            raise InvalidValue("model", unknown[0], "[model] has the one field name")
        model = cast("Table", model).get("name")
    if not isinstance(model, str):
        field = "model.name" if "model" in table else "model"
        raise InvalidValue(field, model, "name it, such as model = '70b'")
    return model


def _traffic(fields: dict[str, object]) -> tuple[Traffic, int | None]:
    """Read the load and the longest request; ``ctx`` stands for what isl and osl leave open."""
    lengths = {name: fields.pop(name, None) for name in ("ctx", "isl", "osl")}
    if any(isinstance(value, Mapping) for value in lengths.values()):
        ctx = tokens_of("ctx", lengths["ctx"])
        shapes = {name: lengths_of(name, lengths[name]) for name in ("isl", "osl")}
        return Traffic(**shapes, **fields), ctx
    found = request_length(*(tokens_of(name, value) for name, value in lengths.items()))
    return Traffic(isl=found.isl, osl=found.osl, **fields), found.longest
