"""What the plan's sidebar holds, as a visitor typed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fitcalc.inputs.buying import Buying
from fitcalc.inputs.risk import Risk, parse_growth
from fitcalc.planning.load import DEFAULT_HEADROOM
from own_prices import OwnPrices

AUTO: Final = "auto"
STEADY: Final = "steady"
_BUYING = Buying()


@dataclass(frozen=True, slots=True)
class Load:
    """The traffic as typed: empty where nothing was said."""

    ctx: str = "8k"
    isl: str = ""
    osl: str = ""
    qps: float | None = 20.0
    concurrency: int | None = None
    prefix_hit: float = 0.0
    burstiness: float = 1.0
    rates: str = STEADY


@dataclass(frozen=True, slots=True)
class Reserves:
    """What the plan must survive, as typed."""

    spare: int = 0
    confidence: float | None = None
    growth: str = ""
    horizon: float = 0.0
    peak_minute: bool = False

    def risk(self) -> Risk:
        """Return it as a plan's argument.

        Raises:
            FitcalcError: it makes no sense.
        """
        said = {
            "spare": self.spare,
            "confidence": self.confidence,
            "growth": parse_growth(self.growth) if self.growth.strip() else 0.0,
            "horizon": self.horizon,
            "peak_minute": self.peak_minute,
        }
        return Risk(**{name: value for name, value in said.items() if value})


_RESERVES = Reserves()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan may use: empty or ``None`` where everything is allowed."""

    gpu: tuple[str, ...] = ()
    exclude_gpu: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    kv_cache_dtype: str = AUTO
    max_gpus: int | None = None
    budget: float | None = None
    headroom: float = DEFAULT_HEADROOM
    min_quality: float | None = None
    buying: Buying = _BUYING
    prices: OwnPrices | None = None
    reserves: Reserves = _RESERVES
