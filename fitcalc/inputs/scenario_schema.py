"""The JSON schema of ``fitcalc.toml``, made from the types that read it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from typing import cast

from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.question import Question
from fitcalc.inputs.scenario import Deployment
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic

SHIPPED = "fitcalc.schema.json"
_DIALECT = "http://json-schema.org/draft-07/schema#"
_RATE = r"^\s*[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?\s*[kKmMbB]?\s*((/|per)\s*[A-Za-z]+)?\s*$"
_TIME = r"^\s*[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?\s*[A-Za-z]*\s*$"
_TOKENS = r"^\s*[0-9]+(\.[0-9]+)?\s*[kKmM]?\s*$"
_SHARE = r"^\s*[0-9]*\.?[0-9]+\s*%?\s*$"
_GROWTH = r"^\s*[0-9]+(\.[0-9]+)?\s*%?\s*(/|a |per )\s*(week|month|year)\s*$"
_SIZE = r"^\s*[0-9]+(\.[0-9]+)?\s*[A-Za-z]*\s*$"
_TEXTS = {
    "qps": _RATE,
    "ttft_ms": _TIME,
    "itl_ms": _TIME,
    "e2e_ms": _TIME,
    "max_model_len": _TOKENS,
    "max_num_batched_tokens": _TOKENS,
    "kv_cache_memory_bytes": _SIZE,
    "min_quality": _SHARE,
    "mean_share": _SHARE,
    "headroom": _SHARE,
    "confidence": _SHARE,
    "growth": _GROWTH,
    "cold_start_s": _TIME,
}
"""Fields that also take text with a unit, and what that looks like."""
_LENGTHS = ("ctx", "isl", "osl")
_SECTIONS: dict[str, type[Question]] = {
    "traffic": Traffic,
    "slo": Slo,
    "engine": EngineArgs,
    "deployment": Deployment,
    "plan": PlanLimits,
}


def shipped_schema() -> str:
    """Return the schema as it is shipped."""
    return (files("fitcalc.inputs") / SHIPPED).read_text(encoding="utf-8")


def schema_text() -> str:
    """Return the schema, made anew."""
    return json.dumps(schema(), indent=2) + "\n"


def schema() -> dict[str, object]:
    """Return the JSON schema of a file: sections that all share, and ``[scenario.NAME]``."""
    definitions: dict[str, object] = {"Lengths": Lengths.model_json_schema()}
    sections: dict[str, object] = {"model": _model()}
    for name, asked in _SECTIONS.items():
        sections[name] = _section(asked, definitions)
    one = {"type": "object", "properties": sections, "additionalProperties": False}
    definitions["scenario"] = one
    named = {"type": "object", "additionalProperties": {"$ref": "#/$defs/scenario"}}
    return {
        "$schema": _DIALECT,
        "title": "fitcalc.toml",
        "description": "Scenarios that fitcalc check holds to their promises.",
        "type": "object",
        "properties": {**sections, "scenario": {**named, "minProperties": 1}},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _section(asked: type[Question], definitions: dict[str, object]) -> dict[str, object]:
    """Return a section's schema: nothing is required, for a file may share the rest."""
    made = asked.model_json_schema()
    definitions.update(made.pop("$defs", {}))
    fields = cast("dict[str, object]", made["properties"])
    units = _said(asked)
    for name, field in fields.items():
        cell = cast("Mapping[str, object]", field)
        if name in _TEXTS:
            cell = {"anyOf": [{"type": "string", "pattern": _TEXTS[name]}, *_kinds(cell)]}
        elif name in _LENGTHS:
            cell = _length()
        fields[name] = {**cell, "description": units[name]} if name in units else dict(cell)
    if asked is Traffic:
        fields["ctx"] = {**_length(), "description": "isl + osl. [tokens]"}
    return {
        "type": "object",
        "description": (asked.__doc__ or "").partition("\n")[0],
        "properties": fields,
        "additionalProperties": False,
    }


def _kinds(field: Mapping[str, object]) -> list[object]:
    """Return the kinds a field takes, without null, which TOML has not."""
    kinds = cast("list[Mapping[str, object]]", field.get("anyOf", [field]))
    return [dict(kind) for kind in kinds if kind.get("type") != "null"]


def _length() -> dict[str, object]:
    number = {"type": "integer", "minimum": 1}
    text = {"type": "string", "pattern": _TOKENS}
    return {"anyOf": [number, text, {"$ref": "#/$defs/Lengths"}]}


def _model() -> dict[str, object]:
    name = {"type": "string", "description": "Alias, table id, Hugging Face id or path."}
    table = {
        "type": "object",
        "properties": {"name": name},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"anyOf": [name, table]}


def _said(asked: type[Question]) -> dict[str, str]:
    """Return what the docstring says of each field."""
    said: dict[str, str] = {}
    last = ""
    for line in (asked.__doc__ or "").splitlines():
        words = line.strip()
        names, colon, text = words.partition(": ")
        if colon and all(name in asked.model_fields for name in names.split(", ")):
            last = names
            said |= dict.fromkeys(names.split(", "), text)
        elif last and words:
            said |= {name: f"{said[name]} {words}" for name in last.split(", ")}
        else:
            last = ""
    return said


if __name__ == "__main__":
    sys.stdout.write(schema_text())
