"""A plan as Markdown, for a pull request or a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fitcalc.answers import Limit
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.assumed import assumed_words
from fitcalc.report.cost_view import cost_lines
from fitcalc.report.day_view import (
    FLEET_COLUMNS,
    day_lines,
    fleet_rows,
    hour_columns,
    hour_rows,
)
from fitcalc.report.feature_view import feature_lines
from fitcalc.report.lost import case_words, lost_groups
from fitcalc.report.parts import capacity_words, ledger_rows, trust_words
from fitcalc.report.plan_view import headline, nothing_words, passing_words, reasons, runners_up
from fitcalc.report.reserves import (
    REASON_COLUMNS,
    confidence_words,
    margin_lines,
    reason_rows,
)
from fitcalc.report.verified import verified_words
from fitcalc.report.why_view import (
    PARETO_COLUMNS,
    SENSITIVITY_COLUMNS,
    pareto_rows,
    pareto_words,
    sensitivity_rows,
    sensitivity_words,
)
from fitcalc.report.words import LIMIT, amount, gib, gpu_name, layout, milliseconds, usd


def plan_markdown(plan: Plan, note: str = "", top: int = 10) -> str:
    """Return a plan as Markdown, the answer first."""
    best = plan.best
    parts = [*_nothing(plan)] if best is None else [*_answer(plan, best, top)]
    parts += [*_why(plan), _lost(plan), assumed_words(plan, note)]
    return "\n\n".join(part for part in parts if part)


def _nothing(plan: Plan) -> Iterable[str]:
    yield f"**{nothing_words(plan)}**"
    yield _features(plan)
    if lines := passing_words(plan):
        yield "What would pass:\n\n" + "\n".join(f"- {line}" for line in lines)


def _answer(plan: Plan, best: Choice, top: int) -> Iterable[str]:
    yield f"**{headline(best)}**"
    yield "\n".join(f"- {line}" for line in (*reasons(plan, best), *best.notes))
    yield _latency(plan, best)
    yield f"How sure: {trust_words(best.prediction)}"
    yield verified_words(best)
    yield confidence_words(best)
    if plan.margins is not None:
        yield markdown_table(REASON_COLUMNS, reason_rows(plan.margins, best))
        yield "\n".join(f"- {line}" for line in margin_lines(plan))
    yield markdown_table(
        ("memory of each GPU", "size"),
        [(name, gib(size)) for name, size in ledger_rows(best.memory)],
    )
    yield capacity_words(best.memory)
    yield "Cost:\n\n" + "\n".join(f"- {line}" for line in cost_lines(plan, best))
    if plan.day is not None:
        yield "Over the day:\n\n" + "\n".join(f"- {line}" for line in day_lines(plan.day))
        yield markdown_table(FLEET_COLUMNS, fleet_rows(plan.day))
        yield markdown_table(hour_columns(plan.day), hour_rows(plan.day))
    yield _features(plan)
    yield f"```sh\n{best.vllm_command}\n```"
    yield _alternatives(plan, best, top)


def _features(plan: Plan) -> str:
    lines = feature_lines(plan.features)
    return "Features:\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _why(plan: Plan) -> Iterable[str]:
    if plan.sensitivity is not None:
        yield markdown_table(SENSITIVITY_COLUMNS, sensitivity_rows(plan.sensitivity))
        yield sensitivity_words(plan.sensitivity)
    if plan.pareto is not None:
        yield markdown_table(PARETO_COLUMNS, pareto_rows(plan.pareto))
        yield pareto_words(plan)


def _latency(plan: Plan, best: Choice) -> str:
    found, slo = best.prediction, plan.question.slo
    promised = {"TTFT": slo.ttft_ms, "ITL": slo.itl_ms, "E2E": slo.e2e_ms}
    rows = [
        (
            name,
            *(milliseconds(x) for x in (p.mean, p.p50, p.p90, p.p95, p.p99)),
            _promise(slo, name, limit),
        )
        for name, p, limit in (
            ("TTFT", found.ttft_ms, promised["TTFT"]),
            ("ITL", found.itl_ms, promised["ITL"]),
            ("TPOT", found.tpot_ms, None),
            ("E2E", found.e2e_ms, promised["E2E"]),
        )
    ]
    return markdown_table(("", "mean", "p50", "p90", "p95", "p99", "promised"), rows)


def _promise(slo: Slo, name: str, limit: float | None) -> str:
    return "" if limit is None else f"p{slo.at(Limit(name.lower())):g} {milliseconds(limit)}"


def _alternatives(plan: Plan, best: Choice, top: int) -> str:
    slo = plan.question.slo
    rows = [
        (
            gpu_name(choice.gpu),
            str(choice.gpu_count),
            f"{choice.replicas} x {layout(choice.engine)}",
            choice.engine.weight_format,
            usd(choice.usd_per_hour),
            usd(choice.usd_per_million_tokens, 3),
            milliseconds(choice.prediction.ttft_ms.at(slo.percentile)),
            milliseconds(choice.prediction.itl_ms.at(slo.at(Limit.ITL))),
            choice.prediction.calibrated.value,
        )
        for choice in (best, *runners_up(plan)[:top])
    ]
    money = ("$/h", "$/Mtok")
    return markdown_table(
        ("GPU", "GPUs", "servers", "format", *money, "TTFT", "ITL", "numbers"), rows
    )


def _lost(plan: Plan) -> str:
    rows = [
        (
            LIMIT[group.limit],
            f"{group.cases:,}",
            case_words(group.closest),
            amount(group.limit, group.closest.needed),
            amount(group.limit, group.closest.available),
        )
        for group in lost_groups(plan)
    ]
    return (
        markdown_table(("lost because", "cases", "closest miss", "needs", "has"), rows)
        if rows
        else ""
    )


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column left, the others right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
