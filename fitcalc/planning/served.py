"""What serves a scenario, in the few figures that people compare and a lock keeps."""

from __future__ import annotations

from fitcalc.answers import Calibrated, Limit, Prediction, Row
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Choice


class Served(Row):
    """A deployment, what it costs, and what its users feel at the promised percentile.

    Attributes:
        gpu: Table id.
        gpu_count: GPUs of all replicas. [1]
        replicas: Servers behind the router. [1]
        usd_per_hour: All of them; ``None`` where no price is known. [USD/h]
        ttft_ms, itl_ms, e2e_ms: At the promised percentile. [ms]
        utilization: Of a server. [1]
        calibrated: Where its numbers come from.
        settings: vLLM's, each by its name; what nobody set is left out.
    """

    gpu: str
    gpu_count: int
    replicas: int
    usd_per_hour: float | None
    ttft_ms: float
    itl_ms: float
    e2e_ms: float
    utilization: float
    calibrated: Calibrated
    settings: dict[str, str | int | float | bool]


_PLANNED = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "weight_format",
    "kv_cache_dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "gpu_memory_utilization",
)  # fmt: skip
"""Settings that a plan decides."""


def of_choice(choice: Choice, slo: Slo) -> Served:
    """Return what a plan chose."""
    settings = {name: getattr(choice.engine, name) for name in _PLANNED}
    return served(
        choice.prediction,
        slo,
        gpu=choice.gpu,
        gpu_count=choice.gpu_count,
        replicas=choice.replicas,
        usd_per_hour=choice.usd_per_hour,
        settings={name: value for name, value in settings.items() if value is not None},
    )


def served(found: Prediction, slo: Slo, **deployed: object) -> Served:
    """Return a deployment with what its users feel."""
    return Served.model_validate(
        {
            **deployed,
            "ttft_ms": found.ttft_ms.at(slo.at(Limit.TTFT)),
            "itl_ms": found.itl_ms.at(slo.at(Limit.ITL)),
            "e2e_ms": found.e2e_ms.at(slo.at(Limit.E2E)),
            "utilization": found.utilization,
            "calibrated": found.calibrated,
        }
    )
