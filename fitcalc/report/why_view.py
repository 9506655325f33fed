"""What a choice depends on, and what else was open: sensitivity and the Pareto front."""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from fitcalc.answers import Limit
from fitcalc.planning.choice import Plan
from fitcalc.planning.why import Case, Lever, Outcome, ParetoPoint, Sensitivity
from fitcalc.report.parts import table
from fitcalc.report.words import count, layout, milliseconds, usd

PARETO_COLUMNS = ("GPU", "GPUs", "servers", "format", "$/h", "TTFT", "ITL")
SENSITIVITY_COLUMNS = ("moved", "by", "the same servers", "the cheapest")
LEVER = {
    Lever.CONTEXT: "input length",
    Lever.OUTPUT: "output length",
    Lever.RATE: "rate",
    Lever.EFFICIENCY: "efficiency",
    Lever.PRICE: "GPU's price",
}
"""What is moved, in words."""
_OWN_KV = ("auto", "bf16", "fp16")


def why_view(plan: Plan) -> list[RenderableType]:
    """Lay out what was asked for beside the plan."""
    return [*_sensitivity(plan), *_pareto(plan)]


def _sensitivity(plan: Plan) -> list[RenderableType]:
    found = plan.sensitivity
    if found is None:
        return []
    title = f"What {100 * found.share:.0f} % less and more does to the cheapest choice"
    made = table(title, *SENSITIVITY_COLUMNS)
    for column in made.columns[2:]:
        column.justify = "left"
    for row in sensitivity_rows(found):
        made.add_row(*row)
    return [made, Padding(Text(sensitivity_words(found)), (0, 0, 1, 2))]


def sensitivity_rows(found: Sensitivity) -> list[tuple[str, ...]]:
    """Return the base, then two lines a lever, the one that moves the cost most first."""
    by = f"{100 * found.share:.0f} %"
    base = found.base
    rows: list[tuple[str, ...]] = [("as asked", "", _size(base, base), _server(base))]
    for swing in found.swings:
        rows += [
            (LEVER[swing.lever], f"-{by}", *_case(swing.low, base)),
            ("", f"+{by}", *_case(swing.high, base)),
        ]
    return rows


def _case(case: Case, base: Outcome) -> tuple[str, str]:
    same = "misses the promise" if case.same is None else _size(case.same, base)
    if case.best is None:
        return same, "nothing serves"
    return same, "the same" if case.stands else f"{_server(case.best)}: {_size(case.best, base)}"


def _size(one: Outcome, base: Outcome) -> str:
    """Say how many GPUs, what they cost, and how much more that is."""
    more = "" if one is base else f" ({100 * base.change(one):+.0f} %)"
    return f"{count(one.gpu_count, 'GPU')}, {usd(one.usd_per_hour)}{more}"


def _server(one: Outcome) -> str:
    ranks = f"TP{one.tensor_parallel_size}"
    if one.pipeline_parallel_size > 1:
        ranks += f" PP{one.pipeline_parallel_size}"
    return f"{one.gpu} {ranks} {_formats(one.weight_format, one.kv_cache_dtype)}"


def sensitivity_words(found: Sensitivity) -> str:
    """Say whether the choice stands."""
    turned = [
        f"{LEVER[swing.lever]} {sign}{100 * found.share:.0f} %"
        for swing in found.swings
        for sign, case in (("-", swing.low), ("+", swing.high))
        if not case.stands
    ]
    stands = "The same kind of server stays the cheapest in every case; only its number moves."
    first = f"Another choice is cheaper at {', '.join(turned)}." if turned else stands
    return f"{first} In closed form, with the same promise and headroom; $ are an hour."


def _pareto(plan: Plan) -> list[RenderableType]:
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
            _formats(str(point.engine.quantization), point.engine.kv_cache_dtype),
            usd(point.usd_per_hour),
            milliseconds(point.ttft_ms),
            milliseconds(point.itl_ms),
        )
        for point in points
    ]


def _formats(weight: str, kv: str) -> str:
    """Name the format of the weights, and that of the KV cache where it is one of its own."""
    return weight if kv in _OWN_KV else f"{weight}, {kv} KV"
