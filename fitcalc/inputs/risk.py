"""What a plan must survive beside its traffic: growth, a lost server, a slow prediction."""

from __future__ import annotations

import math
import re

from pydantic import Field, model_validator

from fitcalc.errors import InvalidValue
from fitcalc.inputs.question import Question
from fitcalc.inputs.traffic import Traffic

_GROWTH = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<percent>%?)\s*(?:/|a |per )\s*(?P<span>week|month|year)"
)
_MONTHS = {"week": 12.0 / (365.25 / 7.0), "month": 1.0, "year": 12.0}
_PERCENT = 100.0


class Risk(Question):
    """What is bought beyond what today's traffic needs, each part for a reason.

    Attributes:
        spare: Servers that may be lost while the promise still holds (N + spare). [1]
        confidence: How sure the promise is to hold, the prediction's own error counted: the size
            is that of a server as slow as the interval's slow end; ``None`` = as predicted. [1]
        growth: Share by which the load rises each month. [1/month]
        horizon: Months after which the plan must still carry the load. [months]
        peak_minute: Leave free what the busiest minute of a day needs, instead of the headroom.
    """

    spare: int = Field(default=0, ge=0, le=1000)
    confidence: float | None = Field(default=None, ge=0.5, le=0.99, allow_inf_nan=False)
    growth: float = Field(default=0.0, ge=0, le=10, allow_inf_nan=False)
    horizon: float = Field(default=0.0, ge=0, le=120, allow_inf_nan=False)
    peak_minute: bool = False

    @model_validator(mode="after")
    def _growth_of_what(self) -> Risk:
        if self.horizon and not self.growth:
            raise InvalidValue("horizon", self.horizon, "give growth too, such as 20%/month")
        return self

    @property
    def asked(self) -> bool:
        """Whether anything is to be survived."""
        return self != Risk()

    @property
    def factor(self) -> float:
        """Load at the horizon over today's. [1]

        Examples:
            >>> round(Risk(growth=0.2, horizon=6).factor, 3)
            2.986
        """
        return float((1.0 + self.growth) ** self.horizon)

    def grown(self, traffic: Traffic) -> Traffic:
        """Return the traffic at the horizon.

        Raises:
            InvalidValue: it grows beyond what a traffic may be.
        """
        if self.factor <= 1.0:
            return traffic
        load = traffic.load * self.factor
        try:
            if traffic.qps is not None:
                return traffic.replace(qps=load)
            return traffic.replace(concurrency=math.ceil(load))
        except (InvalidValue, OverflowError):
            what = "requests/s" if traffic.qps is not None else "clients"
            fix = f"{self.horizon:g} months of it make {load:,.3g} {what}; lower growth or horizon"
            raise InvalidValue("growth", f"{self.growth:g}/month", fix) from None


def parse_growth(text: str) -> float:
    """Read ``20%/month``, ``0.2/month`` or ``100%/year`` as a share a month. [1/month]

    Raises:
        InvalidValue: no number, or no span of time.

    Examples:
        >>> round(parse_growth("20%/month"), 4), round(parse_growth("100%/year"), 4)
        (0.2, 0.0595)
    """
    found = _GROWTH.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidValue("growth", text, "give a share and a span, such as 20%/month or 1/year")
    share = float(found["number"]) / (_PERCENT if found["percent"] else 1.0)
    months = _MONTHS[found["span"]]
    try:
        return share if months == 1.0 else float((1.0 + share) ** (1.0 / months) - 1.0)
    except OverflowError:
        raise InvalidValue("growth", text, "give at most 1000%/month") from None
