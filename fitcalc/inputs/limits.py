"""The ``[plan]`` of a scenario: what a plan may use, and what it must survive."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fitcalc.answers import Terms
from fitcalc.errors import InvalidValue
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.question import Question
from fitcalc.inputs.rates import SHAPES
from fitcalc.inputs.risk import Risk, parse_growth
from fitcalc.inputs.scaling import Scaling
from fitcalc.units import MILLI, parse_milliseconds, parse_share

_BUYING = ("terms", "cloud", "region", "prices", "mean_share")
_RISK = tuple(Risk.model_fields)
_SCALING = ("min_replicas", "max_replicas", "cold_start_s")


class PlanLimits(Question):
    """What a plan may use and must survive; what is left open is free.

    Attributes:
        gpus: Only these GPU types.
        exclude_gpus: Not these GPU types.
        quantization: Only these weight formats.
        max_gpus: Most GPUs in all. [1]
        budget_usd_per_hour: Most money an hour. [USD/h]
        min_quality: Least share of its quality that a format keeps. [1]
        terms, cloud, region, prices, mean_share: How it is bought, as in ``Buying``.
        headroom: Share of the rate the promise allows that stays free. [1]
        growth: Share by which the load rises, such as "20%/month". [1/month]
        horizon: Months after which the plan must still carry the load. [months]
        spare: Servers that may be lost while the promise still holds. [1]
        confidence: How sure the promise is to hold, the prediction's error counted. [1]
        peak_minute: Leave free what the busiest minute of a day needs, instead of the headroom.
        rates: "day", "week" or a CSV of time and rate; the traffic's rate is their mean.
        min_replicas, max_replicas, cold_start_s: The autoscaler's, as in ``Scaling``.
    """

    gpus: tuple[str, ...] | None = None
    exclude_gpus: tuple[str, ...] = ()
    quantization: tuple[str, ...] | None = None
    max_gpus: int | None = Field(default=None, ge=1)
    budget_usd_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_quality: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    terms: Terms | None = None
    cloud: str | None = None
    region: str | None = None
    prices: Path | None = None
    mean_share: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    headroom: float | None = Field(default=None, ge=0, lt=1, allow_inf_nan=False)
    growth: float | None = Field(default=None, ge=0, le=10, allow_inf_nan=False)
    horizon: float | None = Field(default=None, ge=0, le=120, allow_inf_nan=False)
    spare: int | None = Field(default=None, ge=0, le=1000)
    confidence: float | None = Field(default=None, ge=0.5, le=0.99, allow_inf_nan=False)
    peak_minute: bool | None = None
    rates: str | None = None
    min_replicas: int | None = Field(default=None, ge=1, le=100_000)
    max_replicas: int | None = Field(default=None, ge=1, le=100_000)
    cold_start_s: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)

    @field_validator("min_quality", "mean_share", "headroom", "confidence", mode="before")
    @classmethod
    def _share(cls, value: object, info: ValidationInfo) -> object:
        return parse_share(value, info.field_name or "") if isinstance(value, str) else value

    @field_validator("growth", mode="before")
    @classmethod
    def _growth(cls, value: object) -> object:
        return parse_growth(value) if isinstance(value, str) else value

    @field_validator("cold_start_s", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if isinstance(value, str):
            return parse_milliseconds(value, "cold_start_s") * MILLI
        return value

    @model_validator(mode="after")
    def _parts_make_sense(self) -> PlanLimits:
        _ = self.buying, self.risk, self.scaling
        if self.rates is None:
            for name, value in self._given(_SCALING).items():
                raise InvalidValue(name, value, "give it beside rates")
        return self

    @property
    def buying(self) -> Buying:
        """How it is bought."""
        return Buying(**self._given(_BUYING))

    @property
    def risk(self) -> Risk:
        """What must be survived."""
        return Risk(**self._given(_RISK))

    @property
    def scaling(self) -> Scaling:
        """The limits of an autoscaler."""
        return Scaling(**self._given(_SCALING))

    def beside(self, folder: Path) -> PlanLimits:
        """Return the same with files named from a folder."""
        found: dict[str, object] = {}
        if self.prices is not None:
            found["prices"] = folder / self.prices
        if self.rates is not None and self.rates not in SHAPES:
            found["rates"] = str(folder / self.rates)
        return self.replace(**found) if found else self

    def _given(self, names: tuple[str, ...]) -> dict[str, object]:
        cells = {name: getattr(self, name) for name in names}
        return {name: value for name, value in cells.items() if value is not None}
