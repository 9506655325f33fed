"""Servers of one kind over a day or a week, as a plan that may use nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc import Rejection, Slo, Trace, Traffic, plan
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.rates import Rates
from fitcalc.planning.choice import Plan
from fitcalc.planning.server import start
from server import Server


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A load over time.

    Attributes:
        name: Of what it lasts.
        traffic: Its requests at their mean rate.
        rates: Its shape.
        before: Lines of Python that the two below need.
        python: The traffic and the shape as Python.
    """

    name: str
    traffic: Traffic
    rates: Rates
    before: str
    python: tuple[str, str]

    @classmethod
    def named(cls, shape: str, qps: float, isl: int, osl: int) -> Profile:
        """Return an office day or week."""
        said = f"Traffic(qps={qps!r}, isl={isl}, osl={osl})", repr(shape)
        traffic = Traffic(qps=qps, isl=isl, osl=osl)
        return cls(shape, traffic, Rates.named(shape, qps), "", said)

    @classmethod
    def recorded(cls, trace: Trace, python: str) -> Profile:
        """Return the hours of a file.

        Raises:
            InvalidValue: it lasts less than an hour.
        """
        rates, (isl, osl) = Rates.counted(trace.arrival_s), trace.lengths()
        before = (
            "from fitcalc import Trace\nfrom fitcalc.inputs.rates import Rates\n\n"
            f"trace = {python}\nrates = Rates.counted(trace.arrival_s)\n"
            "isl, osl = trace.lengths()\n"
        )
        said = "Traffic(qps=rates.mean_per_s, isl=isl, osl=osl)", "rates"
        traffic = Traffic(qps=rates.mean_per_s, isl=isl, osl=osl)
        return cls("file", traffic, rates, before, said)


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
        server.model, profile.traffic, slo, gpus=[server.gpu], quantization=[setup.weight.id],
        engine=engine, rates=profile.rates,
    )  # fmt: skip
    return ByHour(found, _python(server, profile, slo, setup.weight.id, engine))


def _python(server: Server, profile: Profile, slo: Slo, weight: str, engine: EngineArgs) -> str:
    given = engine.model_dump(exclude_unset=True, exclude_none=True, mode="json")
    settings = ", ".join(f"{name}={value!r}" for name, value in given.items())
    traffic, rates = profile.python
    return (
        f"from fitcalc import EngineArgs, Slo, Traffic, plan\n{profile.before}\n"
        "found = plan(\n"
        f"    {server.model!r},\n    {traffic},\n"
        f"    Slo(ttft_ms={slo.ttft_ms!r}, itl_ms={slo.itl_ms!r}),\n"
        f"    gpus=[{server.gpu!r}],\n    quantization=[{weight!r}],\n"
        f"    engine=EngineArgs({settings}),\n    rates={rates},\n)"
    )
