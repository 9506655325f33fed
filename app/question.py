"""The plan's question: what the sidebar says, as a plan's arguments and as a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from pydantic import BaseModel

from fitcalc import EngineArgs, Slo, Traffic, plan
from fitcalc.answers import Terms
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.context import RequestLength, request_length
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.scenario import Scenario
from fitcalc.planning.choice import Plan
from fitcalc.planning.load import DEFAULT_HEADROOM
from fitcalc.planning.plan import Verify
from fitcalc.planning.unsaid import name_defaults
from fitcalc.units import parse_tokens
from own_prices import NAME, without_folder
from share import command
from typed import AUTO, STEADY, Limits, Load

_SLO, _BUYING = Slo(), Buying()


@dataclass(frozen=True, slots=True)
class Asked:
    """The whole question."""

    model: str
    load: Load
    slo: Slo
    limits: Limits

    def flags(self) -> list[tuple[str, str]]:
        """Return the command line's options that ask the same, defaults left out."""
        load, slo, limits, buys = self.load, self.slo, self.limits, self.limits.buying
        keeps = limits.reserves
        loop = ("concurrency", load.concurrency) if load.concurrency else ("qps", load.qps)
        rows: list[tuple[str, str | float | None]] = [
            ("model", self.model),
            ("ctx", load.ctx),
            ("isl", load.isl),
            ("osl", load.osl),
            loop,
            ("prefix-hit", _unless(load.prefix_hit, 0.0)),
            ("burstiness", _unless(load.burstiness, 1.0)),
            ("rates", "" if load.rates == STEADY else load.rates),
            ("ttft", _unless(slo.ttft_ms, _SLO.ttft_ms)),
            ("itl", _unless(slo.itl_ms, _SLO.itl_ms)),
            ("e2e", slo.e2e_ms),
            ("percentile", _unless(slo.percentile, _SLO.percentile)),
            ("itl-percentile", slo.itl_percentile),
            *(("gpu", gpu) for gpu in limits.gpu),
            *(("exclude-gpu", gpu) for gpu in limits.exclude_gpu),
            *(("quantization", fmt) for fmt in limits.quantization),
            ("kv-cache-dtype", "" if limits.kv_cache_dtype == AUTO else limits.kv_cache_dtype),
            ("max-gpus", limits.max_gpus),
            ("budget", limits.budget),
            ("headroom", _unless(limits.headroom, DEFAULT_HEADROOM)),
            ("min-quality", limits.min_quality),
            ("spare", _unless(keeps.spare, 0)),
            ("confidence", keeps.confidence),
            ("growth", keeps.growth.strip()),
            ("horizon", _unless(keeps.horizon, 0.0)),
            ("terms", None if buys.terms is Terms.ON_DEMAND else buys.terms.value),
            ("cloud", buys.cloud),
            ("region", buys.region),
            ("prices", NAME if limits.prices else None),
            ("mean-share", _unless(buys.mean_share, _BUYING.mean_share)),
        ]
        said = [(name, _word(value)) for name, value in rows if value not in {None, ""}]
        return [*said, ("peak-minute", "")] if keeps.peak_minute else said

    def command(self) -> str:
        """Return the command line that asks the same."""
        return command("plan", self.flags())

    def python(self) -> str:
        """Return the call in Python that asks the same.

        Raises:
            FitcalcError: a length makes no sense.
        """
        said = self.slo.model_dump(exclude_unset=True)
        slo = f"Slo({_arguments(said)})" if said else "None"
        given = {k: value for k, value in self._limits().items() if value not in {None, ()}}
        lines = [
            "from fitcalc import Buying, EngineArgs, Risk, Slo, Traffic, plan",
            "from fitcalc.planning.plan import Verify\n",
            "found = plan(",
            f"    {self.model!r},",
            f"    Traffic({_arguments(self._traffic())}),",
            f"    {slo},",
            *(f"    {name}={_said(value)}," for name, value in given.items()),
            f"    engine=EngineArgs({_arguments(self._engine())}),",
            "    verify=Verify.CHEAP,",
            ")",
        ]
        return "\n".join(lines)

    def answer(self) -> tuple[Plan, str]:
        """Plan, and say how a context was split.

        Raises:
            FitcalcError: the question makes no sense; the message is one sentence.
        """
        limits, said = self.limits, self._limits()
        if limits.prices is None:
            return self._answer(said)
        with limits.prices.saved() as path:
            own = said | {"buying": limits.buying.replace(prices=path)}
            found, note = self._answer(own)
            return without_folder(found, path), note

    def scenario(self) -> Scenario | None:
        """Return the question as a check asks it; ``None`` where it needs the visitor's file.

        Raises:
            FitcalcError: the question makes no sense.
        """
        limits = self.limits
        if limits.prices is not None:
            return None
        said = {name: value for name, value in self._limits().items() if value}
        parts = (limits.buying, limits.reserves.risk())
        given = [part.model_dump(exclude_unset=True).items() for part in parts]
        own = {name: value for name, value in said.items() if name not in {"buying", "risk"}}
        return Scenario(
            model=self.model,
            traffic=Traffic(**self._traffic()),
            slo=self.slo,
            engine=EngineArgs(**self._engine()),
            plan=PlanLimits(**own, **{name: value for items in given for name, value in items}),
        )

    def _answer(self, limits: LimitArguments) -> tuple[Plan, str]:
        note, engine = self._length().note, EngineArgs(**self._engine())
        found = plan(
            self.model, Traffic(**self._traffic()), self.slo, engine=engine, verify=Verify.CHEAP,
            **limits,
        )  # fmt: skip
        return name_defaults(found, self.slo, engine, split=bool(note)), note

    def _length(self) -> RequestLength:
        named = (("ctx", self.load.ctx), ("isl", self.load.isl), ("osl", self.load.osl))
        return request_length(
            *(parse_tokens(text, name) if text.strip() else None for name, text in named)
        )

    def _traffic(self) -> dict[str, object]:
        load, length = self.load, self._length()
        said: dict[str, object] = {
            "qps": None if load.concurrency else load.qps,
            "concurrency": load.concurrency,
            "isl": length.isl,
            "osl": length.osl,
            "prefix_hit": load.prefix_hit,
            "burstiness": _unless(load.burstiness, 1.0),
        }
        return {name: value for name, value in said.items() if value}

    def _limits(self) -> LimitArguments:
        limits, risk = self.limits, self.limits.reserves.risk()
        return {
            "gpus": limits.gpu or None,
            "exclude_gpus": limits.exclude_gpu,
            "quantization": limits.quantization or None,
            "max_gpus": limits.max_gpus,
            "budget_usd_per_hour": limits.budget,
            "headroom": _unless(limits.headroom, DEFAULT_HEADROOM),
            "min_quality": limits.min_quality,
            "buying": None if limits.buying == _BUYING else limits.buying,
            "risk": risk if risk.asked else None,
            "rates": None if self.load.rates == STEADY else self.load.rates,
        }

    def _engine(self) -> dict[str, object]:
        chosen = self.limits.kv_cache_dtype
        own = {} if chosen == AUTO else {"kv_cache_dtype": chosen}
        return {**own, "max_model_len": self._length().longest}


class LimitArguments(TypedDict):
    """What a plan may use, as arguments of ``fitcalc.plan``."""

    gpus: tuple[str, ...] | None
    exclude_gpus: tuple[str, ...]
    quantization: tuple[str, ...] | None
    max_gpus: int | None
    budget_usd_per_hour: float | None
    headroom: float | None
    min_quality: float | None
    buying: Buying | None
    risk: Risk | None
    rates: str | None


def answer(asked: Asked) -> tuple[Plan, str]:
    """Answer a question; a function, so that its answers can be kept.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    return asked.answer()


def _said(value: object) -> str:
    if isinstance(value, BaseModel):
        said = value.model_dump(exclude_unset=True, mode="json")
        return f"{type(value).__name__}({_arguments(said)})"
    return repr(value)


def _arguments(said: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in said.items())


def _unless(value: float, default: float) -> float | None:
    return None if value == default else value


def _word(value: str | float | None) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
