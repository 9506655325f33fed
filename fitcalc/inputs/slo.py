"""The promise to users: which latency, at which percentile."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from fitcalc.answers import Limit
from fitcalc.inputs.question import Question
from fitcalc.units import parse_milliseconds


class Slo(Question):
    """Latency limits that must hold at a percentile of requests (TTFT, E2E) or gaps (ITL).

    Attributes:
        ttft_ms: Arrival to first token, queueing included. [ms]
        itl_ms: Gap between two consecutive output tokens. [ms]
        e2e_ms: Arrival to last token; ``None`` = not promised. [ms]
        percentile: Share of requests and gaps that must keep the promise. [%]
        itl_percentile: Share of gaps, where it is another; ``None`` = ``percentile``. [%]
    """

    ttft_ms: float = Field(default=2000.0, gt=0, le=1e7, allow_inf_nan=False)
    itl_ms: float = Field(default=100.0, gt=0, le=1e7, allow_inf_nan=False)
    e2e_ms: float | None = Field(default=None, gt=0, le=1e8, allow_inf_nan=False)
    percentile: float = Field(default=95.0, ge=50, le=99, allow_inf_nan=False)
    itl_percentile: float | None = Field(default=None, ge=50, le=99, allow_inf_nan=False)

    @field_validator("ttft_ms", "itl_ms", "e2e_ms", mode="before")
    @classmethod
    def _time(cls, value: object, info: ValidationInfo) -> object:
        """Read "2s" as 2000 ms."""
        return parse_milliseconds(value, info.field_name or "") if isinstance(value, str) else value

    def at(self, limit: Limit) -> float:
        """Percentile at which a limit is promised. [%]"""
        return self.itl_percentile or self.percentile if limit is Limit.ITL else self.percentile
