"""Why a plan chose as it did: what other questions would have chosen, and what else was open."""

from __future__ import annotations

from enum import StrEnum

from fitcalc.answers import Row
from fitcalc.inputs.engine import EngineArgs


class Lever(StrEnum):
    """What of a question is moved."""

    CONTEXT = "context"
    OUTPUT = "output"
    RATE = "rate"
    EFFICIENCY = "efficiency"
    PRICE = "price"


class Outcome(Row):
    """What a plan comes to, in a line. Latencies at the promised percentile. [ms]"""

    gpu: str
    gpu_count: int
    replicas: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    weight_format: str
    kv_cache_dtype: str
    usd_per_hour: float | None
    ttft_ms: float
    itl_ms: float

    def change(self, other: Outcome) -> float:
        """How much more another costs, or how many more GPUs where a price is missing. [1]"""
        if self.usd_per_hour and other.usd_per_hour is not None:
            return other.usd_per_hour / self.usd_per_hour - 1.0
        return other.gpu_count / self.gpu_count - 1.0


class Case(Row):
    """What a question with one lever moved comes to.

    Attributes:
        same: With the same kind of server (GPU type, layout, formats), as many as it then takes;
            ``None`` = it keeps the promise no more.
        best: The cheapest; ``None`` = nothing serves.
        stands: Whether the same kind is still as cheap as any.
    """

    same: Outcome | None
    best: Outcome | None
    stands: bool


class Swing(Row):
    """One lever moved down and up.

    Attributes:
        lever: Input length, output length, rate, efficiency of the kernels, or the price of the
            chosen GPU type alone.
        low, high: What it comes to then.
    """

    lever: Lever
    low: Case
    high: Case


class Sensitivity(Row):
    """What the choice depends on, in closed form; the lever that moves the cost most comes first.

    Attributes:
        share: How far each lever was moved, down and up. [1]
        base: The best as asked.
        swings: One a lever.
    """

    share: float
    base: Outcome
    swings: tuple[Swing, ...]


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
