"""What a number format leaves of a model's answers, as others measured and published it.

``models_db/quality.toml`` holds scores of quantized checkpoints over the scores of what they were
made of, for weights and for the KV cache apart; ``models_db/checkpoints.toml`` the names of
quantized checkpoints that somebody published.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from fitcalc.catalog.tables import Toml, read_toml
from fitcalc.errors import TableError
from fitcalc.units import GIGA

_PERCENT = 100.0

_CELLS = ("format", "model", "kind", "params", "benchmark", "recovery", "baseline", "source")
Part = Literal["weights", "kv"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """A published score over its baseline's.

    ``share`` is that ratio [1], ``params`` counts all parameters of the model that was measured
    [1], ``moe`` says whether it has routed experts; ``source`` names who published it.
    """

    format: str
    model: str
    moe: bool
    params: float
    benchmark: str
    share: float
    baseline: str
    source: str
    url: str


def recovery(
    part: Part, format_id: str, model: str, params: float, *, moe: bool
) -> Recovery | None:
    """Return the lowest published recovery of the nearest model; ``None`` where nobody published.

    The nearest is the model itself, or the one of its kind (dense or with experts) whose number of
    parameters is the nearest ratio away.

    Args:
        part: Weights or KV cache: they are judged apart.
        format_id: A format of formats.toml.
        model: Table id.
        params: All its parameters. [1]
        moe: Whether it has routed experts.

    Examples:
        >>> found = recovery("weights", "fp8", "llama-3.3-70b-instruct", 70.6e9, moe=False)
        >>> found.model, found.share
        ('llama-3.1-70b-instruct', 0.997)
    """
    wanted = _like().get(format_id, format_id) if part == "weights" else format_id
    rows = [row for row in _rows(part) if row.format == wanted and row.moe == moe]
    if not rows:
        return None

    def away(row: Recovery) -> float:
        return -1.0 if row.model == model else abs(math.log(row.params / params))

    nearest = min(map(away, rows))
    return min((row for row in rows if away(row) == nearest), key=lambda row: row.share)


def recoveries() -> tuple[Recovery, ...]:
    """Return every row, weights first."""
    return (*_rows("weights"), *_rows("kv"))


def checkpoints(model: str) -> Mapping[str, Sequence[str]]:
    """Return the names of a model's published quantized checkpoints, by format.

    Examples:
        >>> checkpoints("qwen2.5-32b-instruct")["awq_int4"]
        ['Qwen/Qwen2.5-32B-Instruct-AWQ']
    """
    return _checkpoints().get(model, {})


@cache
def _checkpoints() -> Mapping[str, Mapping[str, Sequence[str]]]:
    table = read_toml("models_db", "checkpoints.toml")["models"]
    return cast("Mapping[str, Mapping[str, Sequence[str]]]", table)


@cache
def _table() -> Toml:
    return read_toml("models_db", "quality.toml")


@cache
def _like() -> Mapping[str, str]:
    return cast("Mapping[str, str]", _table()["like"])


@cache
def _rows(part: Part) -> tuple[Recovery, ...]:
    table = _table()
    sources = cast("Mapping[str, Toml]", table["sources"])
    rows = cast("Iterable[Toml]", cast("Toml", table[part])["rows"])
    return tuple(_row(part, row, sources) for row in rows)


def _row(part: str, row: Toml, sources: Mapping[str, Toml]) -> Recovery:
    where = f"quality.{part}.{row.get('model', '?')}.{row.get('format', '?')}"
    missing = [cell for cell in _CELLS if cell not in row]
    if missing or row["kind"] not in ("dense", "moe") or row["source"] not in sources:
        raise TableError(f"{where} needs {', '.join(_CELLS)}, of a kind and a source that exist.")
    source = sources[str(row["source"])]
    return Recovery(
        format=str(row["format"]),
        model=str(row["model"]),
        moe=row["kind"] == "moe",
        params=float(cast("float", row["params"])) * GIGA,
        benchmark=str(row["benchmark"]),
        share=float(cast("float", row["recovery"])) / _PERCENT,
        baseline=str(row["baseline"]),
        source=str(source["title"]),
        url=str(source["url"]),
    )
