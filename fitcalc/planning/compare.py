"""Two plans or configurations beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fitcalc.answers import Limit, MemoryLedger, Percentiles, Prediction, Rejection
from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.scenario import Deployment, Scenario
from fitcalc.inputs.scenario_file import read_scenarios
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Plan
from fitcalc.planning.comparison import Comparison, Group, Term, Value
from fitcalc.planning.cost import bill, bill_per_million
from fitcalc.planning.lock import flat
from fitcalc.planning.market import market
from fitcalc.planning.planned import plan_of
from fitcalc.planning.predict import predict
from fitcalc.planning.saved import read_plan
from fitcalc.planning.server import ledger_of
from fitcalc.planning.setup import set_up
from fitcalc.planning.stressed import load_of
from fitcalc.units import GIB

Source: TypeAlias = Plan | Scenario | str | Path
_Cell: TypeAlias = tuple[Group, str, str, Value]
_PERCENT, _DECIMALS = 100.0, 2
_SETTINGS = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "weight_format",
    "kv_cache_dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "gpu_memory_utilization", "enable_prefix_caching", "enforce_eager", "version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Side:
    """One deployment, planned or pinned."""

    question: dict[str, Value]
    slo: Slo
    gpu: str
    gpu_count: int
    replicas: int
    engine: ResolvedEngine
    prediction: Prediction
    memory: MemoryLedger
    usd_per_hour: float | None
    usd_per_million_tokens: float | None


def compare(a: Source, b: Source) -> Comparison:
    """Set two deployments beside each other: servers, money, latency, load, memory and time.

    Args:
        a: A plan; a scenario (its deployment, or the best of its plan); or the path of a saved plan
            (``fitcalc plan --json``) or of a scenario file, ``fitcalc.toml:chat`` for one of many.
        b: The other.

    Raises:
        FitcalcError: one cannot be read, or nothing of it runs.
    """
    given = {"A": a, "B": b}
    names = [str(one) if isinstance(one, str | Path) else name for name, one in given.items()]
    sides = [
        {(group, what, unit): value for group, what, unit, value in _cells(_side(one, name))}
        for name, one in zip(names, given.values(), strict=True)
    ]
    keys = sorted({**sides[0], **sides[1]}, key=lambda key: list(Group).index(key[0]))
    terms = [_term(key, sides[0].get(key), sides[1].get(key)) for key in keys]
    return Comparison(a=names[0], b=names[1], terms=tuple(terms))


def _term(key: tuple[Group, str, str], a: Value, b: Value) -> Term:
    group, name, unit = key
    change = None
    if _number(a) and _number(b):
        old, new = float(a or 0), float(b or 0)
        change = 0.0 if old == new else new / old - 1.0 if old else None
    return Term(group=group, name=name, unit=unit, a=a, b=b, change=change)


def _number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _side(source: Source, name: str) -> _Side:
    if isinstance(source, str | Path):
        source = _read(str(source))
    if isinstance(source, Scenario):
        if source.deployment is not None:
            return _pinned(source, source.deployment, name)
        source = plan_of(source)
    return _planned(source, name)


def _read(path: str) -> Plan | Scenario:
    """Read a saved plan, or a scenario of a file."""
    file, colon, chosen = path.rpartition(":")
    if not colon or not file.endswith(".toml"):
        file, chosen = path, ""
    if not file.endswith(".toml"):
        try:
            return read_plan(Path(file).read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            fix = f"{why}; give what fitcalc plan --json wrote, or a scenario file (.toml)"
            raise InvalidValue("file", file, fix) from None
    found = {one.name: one.asked for one in read_scenarios(Path(file)).scenarios}
    if not chosen and len(found) == 1:
        return next(iter(found.values()))
    if chosen not in found:
        known = ", ".join(f"{file}:{one}" for one in found)
        raise InvalidValue("scenario", chosen or None, f"name one of {known}")
    return found[chosen]


def _planned(made: Plan, name: str) -> _Side:
    best, asked = made.best, made.question
    if best is None:
        why = made.closest.reason if made.closest else "nothing serves its question"
        raise InvalidValue("plan", name, f"it has no choice to compare: {why}")
    return _Side(
        question=_question(asked.model, asked.traffic, asked.slo),
        slo=asked.slo,
        gpu=best.gpu,
        gpu_count=best.gpu_count,
        replicas=best.replicas,
        engine=best.engine,
        prediction=best.prediction,
        memory=best.memory,
        usd_per_hour=best.usd_per_hour,
        usd_per_million_tokens=best.usd_per_million_tokens,
    )


def _pinned(asked: Scenario, pinned: Deployment, name: str) -> _Side:
    load, limits = load_of(asked), asked.plan or PlanLimits()
    share = load.today.share(pinned.replicas)
    setup = set_up(asked.model, pinned.gpu, asked.engine)
    if isinstance(setup, Rejection):
        raise _stopped(name, setup)
    ledger = ledger_of(setup)
    # As plans are predicted: another method would be a difference of its own.
    found = predict(asked.model, pinned.gpu, asked.engine, share, method="closed_form")
    if isinstance(ledger, Rejection):
        raise _stopped(name, ledger)
    if isinstance(found, Rejection):
        raise _stopped(name, found)
    price = bill(setup.gpu.id, asked.engine.gpus, pinned.replicas, market(limits.buying))
    busy = load.bought_as(limits.buying).mean_share
    return _Side(
        question=_question(setup.model.id, asked.traffic, asked.slo),
        slo=asked.slo,
        gpu=setup.gpu.id,
        gpu_count=asked.engine.gpus * pinned.replicas,
        replicas=pinned.replicas,
        engine=setup.engine,
        prediction=found,
        memory=ledger,
        usd_per_hour=price.usd_per_hour if price else None,
        usd_per_million_tokens=bill_per_million(
            price, found.total_tokens_per_s * pinned.replicas * busy
        ),
    )


def _stopped(name: str, no: Rejection) -> InvalidValue:
    return InvalidValue("scenario", name, f"it does not run: {no.reason}")


def _question(model: str, traffic: Traffic, slo: Slo) -> dict[str, Value]:
    """Return what was asked; of lengths their mean and their longest."""
    load = traffic.model_dump(mode="json", exclude_defaults=True, exclude={"isl", "osl"})
    lengths = {
        f"{name}, {what}": value
        for name, some in (("isl", traffic.isl), ("osl", traffic.osl))
        for what, value in (("mean", some.mean), ("longest", some.at_most()))
    }
    promise = slo.model_dump(mode="json", exclude_none=True)
    return {"model": model, **flat(load), **lengths, **flat(promise, "promised ")}


def _cells(side: _Side) -> Iterator[_Cell]:
    for name, value in side.question.items():
        yield Group.QUESTION, name, "", value
    yield Group.SERVERS, "GPU", "", side.gpu
    yield Group.SERVERS, "GPUs", "", side.gpu_count
    yield Group.SERVERS, "servers", "", side.replicas
    for name in _SETTINGS:
        yield Group.SERVERS, name, "", getattr(side.engine, name)
    yield Group.MONEY, "cost", "USD/h", side.usd_per_hour
    yield Group.MONEY, "cost of tokens", "USD/Mtok", side.usd_per_million_tokens
    yield from _latency(side)
    yield from _load(side)
    yield from _memory(side.memory)
    for what, share in side.prediction.shares.items():
        yield Group.TIME, what.value, "%", round(_PERCENT * share, _DECIMALS)


def _latency(side: _Side) -> Iterator[_Cell]:
    found, slo = side.prediction, side.slo
    laws: tuple[tuple[str, Percentiles, Limit], ...] = (
        ("TTFT", found.ttft_ms, Limit.TTFT),
        ("ITL", found.itl_ms, Limit.ITL),
        ("E2E", found.e2e_ms, Limit.E2E),
    )
    for name, law, limit in laws:
        yield Group.LATENCY, f"{name} at the promised percentile", "ms", law.at(slo.at(limit))
        yield Group.LATENCY, f"{name} mean", "ms", law.mean
    yield Group.LATENCY, "TPOT mean", "ms", found.tpot_ms.mean
    yield Group.LATENCY, "numbers", "", found.calibrated.value


def _load(side: _Side) -> Iterator[_Cell]:
    found = side.prediction
    yield Group.LOAD, "requests, all servers", "1/s", found.requests_per_s * side.replicas
    yield Group.LOAD, "output tokens, all servers", "1/s", found.output_tokens_per_s * side.replicas
    yield Group.LOAD, "running at once, a server", "", found.steady_batch
    yield Group.LOAD, "utilization of a server", "%", _PERCENT * found.utilization
    yield Group.LOAD, "KV cache in use", "%", _PERCENT * found.kv_cache_usage


def _memory(memory: MemoryLedger) -> Iterator[_Cell]:
    parts = (
        ("weights", memory.weights_bytes),
        ("activation peak", memory.activation_bytes),
        ("buffers outside torch", memory.non_torch_bytes),
        ("CUDA graphs", memory.cuda_graph_bytes),
        ("KV cache", memory.kv_cache_bytes),
        ("left unused", memory.unused_bytes),
    )
    for name, size in parts:
        yield Group.MEMORY, f"{name}, a GPU", "GiB", size / GIB
    yield Group.MEMORY, "KV cache tokens, a server", "", memory.kv_cache_tokens
