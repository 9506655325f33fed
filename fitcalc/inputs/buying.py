"""How hardware is bought: terms, cloud, region, the user's own prices, owned servers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from fitcalc.answers import Terms
from fitcalc.errors import InvalidValue
from fitcalc.inputs.question import Question

_MOST_YEARS = 20.0
_MOST_GPUS = 1024


class OwnedServer(Question):
    """A server that is bought, housed and fed; nothing of it has a default price.

    Attributes:
        gpu: Table id, alias or driver's name of its GPUs.
        gpus: How many it holds. [1]
        price: The whole server. [currency of the prices]
        years: Until it is written off. [years]
        host_power_w: What it draws beside its GPUs, which count with their nameplate. [W]
        tariff_per_kwh: Electricity. [currency/kWh]
        pue: Power of the site over power of its servers. [1]
        other_per_hour: Rack, staff, support. [currency/h]
        gpu_power_w: What a GPU draws; ``None`` = its nameplate in the tables. [W]
    """

    gpu: str
    gpus: int = Field(ge=1, le=_MOST_GPUS)
    price: float = Field(gt=0, allow_inf_nan=False)
    years: float = Field(gt=0, le=_MOST_YEARS)
    host_power_w: float = Field(ge=0, allow_inf_nan=False)
    tariff_per_kwh: float = Field(ge=0, allow_inf_nan=False)
    pue: float = Field(ge=1, le=3)
    other_per_hour: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    gpu_power_w: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Buying(Question):
    """What may be bought, and how busy it will be over the day.

    Attributes:
        terms: On demand, spot, reserved or owned.
        cloud: Only this cloud; ``None`` = the cheapest of all.
        region: Only this region; ``None`` = any.
        prices: A price table of the user's, instead of the shipped one.
        owned: Servers of the user's, in USD; with them the terms are ``owned``.
        mean_share: The day's mean rate over the rate that was asked for, its peak. [1]
    """

    terms: Terms = Terms.ON_DEMAND
    cloud: str | None = None
    region: str | None = None
    prices: Path | None = None
    owned: tuple[OwnedServer, ...] = ()
    mean_share: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _owned_terms(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("owned") and "terms" not in given:
            return {**given, "terms": Terms.OWNED}
        return given

    @model_validator(mode="after")
    def _owned_needs_servers(self) -> Buying:
        owns = self.terms is Terms.OWNED
        if owns and not self.owned and self.prices is None:
            raise InvalidValue("terms", "owned", "give --prices, a table with [[servers]]")
        if owns and (self.cloud or self.region):
            raise InvalidValue("terms", "owned", "leave cloud and region out: it has neither")
        return self

    @property
    def narrows(self) -> bool:
        """Whether only what is on sale so may be planned with."""
        return self.replace(mean_share=1.0) != Buying()
