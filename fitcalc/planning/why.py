"""What else was open beside a plan's choice."""

from __future__ import annotations

from fitcalc.answers import Row
from fitcalc.inputs.engine import EngineArgs


class ParetoPoint(Row):
    """A deployment that no other beats in money, first token, gap and GPUs at once.

    Attributes:
        gpu: Table id.
        gpu_count: GPUs in all replicas. [1]
        replicas: Servers. [1]
        engine: vLLM's settings of each.
        usd_per_hour: All replicas; ``None`` where no price is known. [USD/h]
        ttft_ms, itl_ms: At the promised percentile. [ms]
    """

    gpu: str
    gpu_count: int
    replicas: int
    engine: EngineArgs
    usd_per_hour: float | None
    ttft_ms: float
    itl_ms: float
