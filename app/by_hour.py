"""Servers of one kind over a day or a week, as a plan that may use nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc import Rejection, Slo, Traffic, plan
from fitcalc.inputs.engine import EngineArgs
from fitcalc.planning.choice import Plan
from fitcalc.planning.server import start
from server import Server


@dataclass(frozen=True, slots=True)
class Profile:
    """A load over time: its mean and its shape."""

    qps: float
    isl: int
    osl: int
    shape: str


@dataclass(frozen=True, slots=True)
class ByHour:
    """The plan for the profile's peak, and the call in Python that asks for it."""

    found: Plan
    python: str


def by_hour(server: Server, profile: Profile, slo: Slo) -> ByHour | Rejection:
    """Plan with one configuration alone, for the peak of a profile.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    started = start(server.model, server.gpu, server.engine)
    if isinstance(started, Rejection):
        return started
    setup = started[0]
    engine = server.engine.replace(
        tensor_parallel_size=setup.engine.tensor_parallel_size,
        pipeline_parallel_size=setup.engine.pipeline_parallel_size,
        max_num_seqs=setup.engine.max_num_seqs,
        max_num_batched_tokens=setup.engine.max_num_batched_tokens,
        max_model_len=setup.engine.max_model_len,
        kv_cache_dtype=setup.kv.id,
        quantization=None,
    )
    found = plan(
        server.model, Traffic(qps=profile.qps, isl=profile.isl, osl=profile.osl), slo,
        gpus=[server.gpu], quantization=[setup.weight.id], engine=engine, rates=profile.shape,
    )  # fmt: skip
    return ByHour(found, _python(server, profile, slo, setup.weight.id, engine))


def _python(server: Server, profile: Profile, slo: Slo, weight: str, engine: EngineArgs) -> str:
    given = engine.model_dump(exclude_unset=True, exclude_none=True, mode="json")
    settings = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return (
        "from fitcalc import EngineArgs, Slo, Traffic, plan\n\n"
        "found = plan(\n"
        f"    {server.model!r},\n"
        f"    Traffic(qps={profile.qps!r}, isl={profile.isl}, osl={profile.osl}),\n"
        f"    Slo(ttft_ms={slo.ttft_ms!r}, itl_ms={slo.itl_ms!r}),\n"
        f"    gpus=[{server.gpu!r}],\n    quantization=[{weight!r}],\n"
        f"    engine=EngineArgs({settings}),\n    rates={profile.shape!r},\n)"
    )
