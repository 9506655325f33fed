"""What hosts ask for a model's tokens, as ``models_db/api_prices.toml`` lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from fitcalc.catalog.tables import Toml, read_toml
from fitcalc.errors import TableError
from fitcalc.units import MEGA, is_finite_positive

_NEEDED = ("host", "name", "input", "output")


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """One host's list price of a model, per million tokens [USD].

    ``cached_input`` is what a prompt token costs that the host finds in its prefix cache;
    ``max_input_tokens`` the longest prompt it takes, ``None`` where it does not say.
    """

    host: str
    name: str
    input: float
    output: float
    cached_input: float | None
    max_input_tokens: int | None
    checked: str
    source: str

    def usd_per_request(self, isl: float, osl: float, hit_share: float = 0.0) -> float:
        """Return what a request costs. [USD]

        ``(isl (1 - h) input + isl h cached_input + osl output) / 10^6``

        Args:
            isl: Prompt. [tokens]
            osl: Answer. [tokens]
            hit_share: Share of the prompt in the host's prefix cache. [1]
        """
        cached = self.input if self.cached_input is None else self.cached_input
        prompt = isl * ((1.0 - hit_share) * self.input + hit_share * cached)
        return (prompt + osl * self.output) / MEGA


def api_prices(model_id: str) -> tuple[ApiPrice, ...]:
    """Return the hosts of a model, in the order of the table; none where nobody lists it.

    Examples:
        >>> api_prices("llama-3.3-70b-instruct")[0].output
        0.3
    """
    return _prices().get(model_id, ())


@cache
def _prices() -> Mapping[str, tuple[ApiPrice, ...]]:
    table = read_toml("models_db", "api_prices.toml")
    source = cast("Toml", table["source"])
    models = cast("Mapping[str, Toml]", table["models"])
    return {
        name: tuple(_price(name, row, source) for row in cast("Sequence[Toml]", cells["hosts"]))
        for name, cells in models.items()
    }


def _price(model: str, row: Toml, source: Toml) -> ApiPrice:
    where = f"api_prices.{model}.{row.get('host', '?')}"
    missing = [key for key in _NEEDED if key not in row]
    if missing:
        raise TableError(f"{where} has no {', '.join(missing)}.")
    amounts = [float(cast("float", row[key])) for key in ("input", "output")]
    if not all(is_finite_positive(amount) for amount in amounts):
        raise TableError(f"{where} asks {amounts} USD; both must be above 0.")
    cached = row.get("cached_input")
    return ApiPrice(
        host=str(row["host"]),
        name=str(row["name"]),
        input=amounts[0],
        output=amounts[1],
        cached_input=None if cached is None else float(cast("float", cached)),
        max_input_tokens=cast("int | None", row.get("max_input_tokens")),
        checked=str(source["checked"]),
        source=str(source["title"]),
    )
