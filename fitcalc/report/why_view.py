"""What else was open beside a plan's choice: the Pareto front."""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from fitcalc.answers import Limit
from fitcalc.planning.choice import Plan
from fitcalc.planning.why import ParetoPoint
from fitcalc.report.parts import table
from fitcalc.report.words import layout, milliseconds, usd

PARETO_COLUMNS = ("GPU", "GPUs", "servers", "format", "$/h", "TTFT", "ITL")
_OWN_KV = ("auto", "bf16", "fp16")


def why_view(plan: Plan) -> list[RenderableType]:
    """Lay out what was asked for beside the plan."""
    if plan.pareto is None:
        return []
    made = table("What no other deployment beats in money, GPUs, TTFT and ITL", *PARETO_COLUMNS)
    for row in pareto_rows(plan.pareto):
        made.add_row(*row)
    return [made, Padding(Text(pareto_words(plan)), (0, 0, 1, 2))]


def pareto_words(plan: Plan) -> str:
    """Say what the front's columns mean."""
    slo = plan.question.slo
    return (
        "Each has the fewest servers that keep the promise, in closed form: "
        f"TTFT at p{slo.at(Limit.TTFT):g}, ITL at p{slo.at(Limit.ITL):g}."
    )


def pareto_rows(points: tuple[ParetoPoint, ...]) -> list[tuple[str, ...]]:
    """Return one line a point, the cheapest first."""
    return [
        (
            point.gpu,
            str(point.gpu_count),
            f"{point.replicas} x {layout(point.engine)}",
            _formats(point),
            usd(point.usd_per_hour),
            milliseconds(point.ttft_ms),
            milliseconds(point.itl_ms),
        )
        for point in points
    ]


def _formats(point: ParetoPoint) -> str:
    """Name the format of the weights, and that of the KV cache where it is one of its own."""
    weight, kv = str(point.engine.quantization), point.engine.kv_cache_dtype
    return weight if kv in _OWN_KV else f"{weight}, {kv} KV"
