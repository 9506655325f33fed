"""A file of traffic classes: one ``[[class]]`` each, mistakes named by file and line."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from fitcalc.errors import InvalidValue
from fitcalc.inputs.mixture import Mix, TrafficClass
from fitcalc.inputs.question import Question
from fitcalc.inputs.rates import Rates, read_lengths
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.toml_file import lengths_of, read_toml
from fitcalc.inputs.traffic import Traffic
from fitcalc.units import parse_rate

_HEADER = re.compile(r"^\s*\[\[\s*class\s*\]\]")
_PROMISE = {"ttft": "ttft_ms", "itl": "itl_ms", "e2e": "e2e_ms", "percentile": "percentile"}
_EXAMPLE = 'write [[class]] with name, qps, isl and osl below it, such as name = "chat"'


class ClassFields(Question):
    """Fields of one ``[[class]]``.

    Attributes:
        name: What the report calls it.
        qps: Mean rate. [1/s]
        isl, osl: Lengths: a number, "2k", or a table as of ``Lengths``. [tokens]
        lengths: CSV of token histograms, in place of isl and osl, beside the file.
        rates: CSV of a rate over time, scaled to qps where that is given, beside the file.
        burstiness: As in ``Traffic``. [1]
        priority: vLLM's, lower runs first.
        ttft, itl, e2e: Promises of its own, as in ``Slo``: "2s", or a number. [ms]
        percentile: Share of its requests that must keep them. [%]
    """

    name: str = Field(min_length=1, max_length=64)
    qps: float | None = None
    isl: object = None
    osl: object = None
    lengths: str | None = None
    rates: str | None = None
    burstiness: float = 1.0
    priority: int = Field(default=0, ge=-(1 << 62), le=1 << 62)
    ttft: str | float | None = None
    itl: str | float | None = None
    e2e: str | float | None = None
    percentile: float | None = None

    @field_validator("qps", mode="before")
    @classmethod
    def _rate(cls, value: object) -> object:
        return parse_rate(value, "qps") if isinstance(value, str) else value


def read_mix(path: Path, *, num_requests: int | None = None) -> Mix:
    """Read the classes of a TOML file.

    Args:
        path: The file.
        num_requests: Requests of all classes; ``None`` = left open. [1]

    Raises:
        InvalidValue: it cannot be read, or names the line of what makes no sense.
    """
    table, text = read_toml(path, "mix")
    tables = table.get("class")
    if set(table) != {"class"} or not isinstance(tables, list):
        wrong = next((name for name in table if name != "class"), "nothing")
        raise InvalidValue(f"{path.name}", wrong, _EXAMPLE)
    classes: list[TrafficClass] = []
    for number, fields in enumerate(tables):
        try:
            classes.append(_class(ClassFields(**fields), path.parent))
        except InvalidValue as wrong:
            line = _line(text, number, wrong.field.partition(".")[0])
            where = f"{path.name} line {line}: {wrong.field}"
            raise InvalidValue(where, wrong.value, wrong.fix) from None
    try:
        return Mix(tuple(classes), num_requests)
    except InvalidValue as wrong:
        raise InvalidValue(f"{path.name}: {wrong.field}", wrong.value, wrong.fix) from None


def _class(fields: ClassFields, folder: Path) -> TrafficClass:
    if fields.lengths is not None:
        if fields.isl is not None or fields.osl is not None:
            raise InvalidValue("lengths", fields.lengths, "give either lengths or isl and osl")
        isl, osl = read_lengths(folder / fields.lengths)
    else:
        isl, osl = (lengths_of(name, getattr(fields, name)) for name in ("isl", "osl"))
    rates = None
    if fields.rates is not None:
        if fields.rates == "day" and fields.qps is None:
            raise InvalidValue("rates", "day", "give qps, the day's mean rate, beside it")
        rates = Rates.named(fields.rates if fields.rates == "day" else folder / fields.rates)
        rates = rates if fields.qps is None else rates.scaled(fields.qps)
    qps = fields.qps if rates is None else rates.mean_per_s
    traffic = Traffic(qps=qps, isl=isl, osl=osl, burstiness=fields.burstiness)
    return TrafficClass(traffic, fields.priority, rates, fields.name, _promise(fields))


def _promise(fields: ClassFields) -> Slo | None:
    """Return the promise that is the class's own, each mistake under the name in the file."""
    given = {name: getattr(fields, name) for name in _PROMISE if getattr(fields, name) is not None}
    for name, value in given.items():
        try:
            Slo(**{_PROMISE[name]: value})
        except InvalidValue as wrong:
            raise InvalidValue(name, wrong.value, wrong.fix) from None
    return Slo(**{_PROMISE[name]: value for name, value in given.items()}) if given else None


def _line(text: str, number: int, field: str) -> int:
    """Line of a field of the n-th class, or of its header where the field is missing."""
    header, seen = 1, -1
    for line, words in enumerate(text.splitlines(), start=1):
        if _HEADER.match(words):
            if seen == number:
                break
            seen, header = seen + 1, line
        elif seen == number and re.match(rf"\s*{re.escape(field)}\s*=", words):
            return line
    return header
