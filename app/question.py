"""The plan's question: what the sidebar says, as a plan's arguments and as a command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from fitcalc import EngineArgs, Slo, Traffic, plan
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.context import request_length
from fitcalc.planning.choice import Plan
from fitcalc.planning.unsaid import name_defaults
from fitcalc.units import parse_tokens

AUTO = "auto"
_SLO = Slo()


@dataclass(frozen=True, slots=True)
class Load:
    """The traffic as typed: empty where nothing was said."""

    ctx: str = "8k"
    isl: str = ""
    osl: str = ""
    qps: float | None = 20.0
    concurrency: int | None = None
    prefix_hit: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan may use: empty or ``None`` where everything is allowed."""

    gpu: tuple[str, ...] = ()
    exclude_gpu: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    kv_cache_dtype: str = AUTO
    max_gpus: int | None = None
    budget: float | None = None
    cloud: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The whole question."""

    model: str
    load: Load
    slo: Slo
    limits: Limits

    def flags(self) -> list[tuple[str, str]]:
        """Return the command line's options that ask the same, defaults left out."""
        load, slo, limits = self.load, self.slo, self.limits
        loop = ("concurrency", load.concurrency) if load.concurrency else ("qps", load.qps)
        rows: list[tuple[str, object]] = [
            ("model", self.model),
            ("ctx", load.ctx),
            ("isl", load.isl),
            ("osl", load.osl),
            loop,
            ("prefix-hit", load.prefix_hit),
            ("ttft", _unless(slo.ttft_ms, _SLO.ttft_ms)),
            ("itl", _unless(slo.itl_ms, _SLO.itl_ms)),
            ("e2e", slo.e2e_ms),
            ("percentile", _unless(slo.percentile, _SLO.percentile)),
            *(("gpu", gpu) for gpu in limits.gpu),
            *(("exclude-gpu", gpu) for gpu in limits.exclude_gpu),
            *(("quantization", fmt) for fmt in limits.quantization),
            ("kv-cache-dtype", "" if limits.kv_cache_dtype == AUTO else limits.kv_cache_dtype),
            ("max-gpus", limits.max_gpus),
            ("budget", limits.budget),
            ("cloud", limits.cloud),
        ]
        return [(name, _word(value)) for name, value in rows if value]

    def command(self) -> str:
        """Return the command line that asks the same."""
        words = [word for name, value in self.flags() for word in (f"--{name}", value)]
        return shlex.join(["fitcalc", "plan", *words])


def answer(asked: Asked) -> tuple[Plan, str]:
    """Plan, and say how a context was split.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    load, limits = asked.load, asked.limits
    tokens = (
        parse_tokens(text, name) if text.strip() else None
        for name, text in (("ctx", load.ctx), ("isl", load.isl), ("osl", load.osl))
    )
    length = request_length(*tokens)
    traffic = Traffic(
        qps=None if load.concurrency else load.qps,
        concurrency=load.concurrency,
        isl=length.isl,
        osl=length.osl,
        prefix_hit=load.prefix_hit,
    )
    engine = EngineArgs(**_server(limits), max_model_len=length.longest)
    found = plan(
        asked.model,
        traffic,
        asked.slo,
        gpus=limits.gpu or None,
        exclude_gpus=limits.exclude_gpu,
        quantization=limits.quantization or None,
        max_gpus=limits.max_gpus,
        budget_usd_per_hour=limits.budget,
        buying=Buying(cloud=limits.cloud),
        engine=engine,
    )
    return name_defaults(found, asked.slo, engine, split=bool(length.note)), length.note


def _server(limits: Limits) -> dict[str, str]:
    chosen = limits.kv_cache_dtype
    return {} if chosen == AUTO else {"kv_cache_dtype": chosen}


def _unless(value: float, default: float) -> float | None:
    return None if value == default else value


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
