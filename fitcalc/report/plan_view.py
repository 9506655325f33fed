"""A plan on a terminal: what to buy, why, what users feel, what it costs, and who lost."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from fitcalc.answers import Limit
from fitcalc.planning.check_text import relaxation_words
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
from fitcalc.report.parts import (
    NARROW,
    capacity_words,
    latency_table,
    ledger_table,
    table,
    trust_words,
)
from fitcalc.report.reserves import (
    REASON_COLUMNS,
    confidence_words,
    margin_lines,
    reason_rows,
)
from fitcalc.report.verified import verified_words
from fitcalc.report.why_view import why_view
from fitcalc.report.words import (
    BINDS,
    BOTTLENECK,
    LIMIT,
    OPTION,
    amount,
    count,
    gpu_name,
    layout,
    milliseconds,
    number,
    sentence,
    shares_words,
    usd,
)

_CHANGES = 3
"""Changes that are shown where nothing fits. [1]"""
_WIDE = 104
"""Columns from which the runners-up show their latencies too. [characters]"""

_NAMED = 96
"""Columns from which latencies are named in words too. [characters]"""


def plan_view(plan: Plan, note: str = "", width: int = 80, top: int = 10) -> Group:
    """Lay out a plan, the answer first; ``top`` alternatives get a line of their own."""
    parts: list[RenderableType] = []
    if plan.best is None:
        parts += [Text(nothing_words(plan), style="bold red"), *_passing(plan)]
    else:
        parts += _answer(plan, plan.best, width)
        parts += _alternatives(plan, plan.best, width, top)
    if plan.best is None:
        parts += [*_features(plan), Text("")]
    parts += [*why_view(plan), *_lost(plan, width), Text(assumed_words(plan, note))]
    return Group(*parts)


def headline(best: Choice) -> str:
    """Say what to buy, in one line."""
    price = f" for {usd(best.usd_per_hour)} an hour" if best.usd_per_hour else ", price unknown"
    return (
        f"{best.gpu_count} x {gpu_name(best.gpu)}{price}: "
        f"{count(best.replicas, 'vLLM server')} of {count(best.engine.gpus, 'GPU')}"
    )


def reasons(plan: Plan, best: Choice) -> tuple[str, ...]:
    """Say why this one: against whom it won, what binds, what is left free."""
    found, asked = best.prediction, plan.question
    what = (
        f"{asked.model} in {best.engine.weight_format}, KV cache in {best.engine.kv_cache_dtype}, "
        f"{layout(best.engine)}, at most {best.engine.max_num_seqs} requests at once."
    )
    carries = (
        f"Each server carries {number(found.requests_per_s)} req/s "
        f"({number(found.output_tokens_per_s)} output tokens/s) with {number(found.steady_batch)} "
        f"requests running on average, {100 * found.utilization:.0f} % busy, "
        f"{100 * found.kv_cache_usage:.0f} % of its KV cache in use; "
        f"{100 * best.headroom:.0f} % of the rate the promise allows is left free."
    )
    binds = (
        f"What binds is {BOTTLENECK[found.bottleneck]}. A request's time goes to "
        f"{shares_words(found.shares)}."
    )
    return tuple(line for line in (what, _against(plan, best), binds, carries) if line)


def nothing_words(plan: Plan) -> str:
    """Say that nothing serves, and what the closest lacks."""
    lost = plan.closest
    if lost is None:
        return "Nothing fits, and no configuration came close."
    return (
        f"{_lost_all(plan)} Closest: {gpu_name(lost.gpu)} TP{lost.tensor_parallel_size} in "
        f"{lost.weight_format}: {LIMIT[lost.limit]}, needs {amount(lost.limit, lost.needed)}, "
        f"has {amount(lost.limit, lost.available)}. {sentence(lost.reason)}"
    )


def _lost_all(plan: Plan) -> str:
    if any(one.having or one.without for one in plan.features):
        return "One plan within the tightest promise does not fit; see Features for what does."
    return "Nothing fits."


def passing_words(plan: Plan) -> tuple[str, ...]:
    """Say what would pass, in the words of the options."""
    return tuple(relaxation_words(one, OPTION) for one in plan.relaxations[:_CHANGES])


def _passing(plan: Plan) -> list[RenderableType]:
    lines = passing_words(plan)
    rows = [Padding(Text(line), (0, 0, 0, 2)) for line in lines]
    return [Text("What would pass:", style="bold"), *rows, Text("")] if lines else []


def _against(plan: Plan, best: Choice) -> str:
    if len(plan.question.gpus) == 1:
        return ""
    others = [c for c in plan.alternatives if c.gpu != best.gpu and c.usd_per_hour is not None]
    if best.usd_per_hour is None:
        return "No GPU type with a known price keeps the promise; this one takes the fewest GPUs."
    if not others:
        return "It is the only GPU type with a price that keeps the promise."
    second = min(others, key=lambda choice: choice.usd_per_hour or 0.0)
    more = (second.usd_per_hour or 0.0) / best.usd_per_hour - 1.0
    return (
        f"It is the cheapest that keeps the promise; next is {second.gpu_count} x "
        f"{gpu_name(second.gpu)} at {usd(second.usd_per_hour)} an hour ({100 * more:+.0f} %)."
    )


def shell_lines(command: str, width: int) -> str:
    r"""Break a command into lines that a shell reads as one.

    Examples:
        >>> print(shell_lines("vllm serve m --tensor-parallel-size 4 --enforce-eager", 36))
          vllm serve m \
            --tensor-parallel-size 4 \
            --enforce-eager
    """
    first, *flags = command.split(" --")
    lines, free = [f"  {first}"], 0
    for flag in flags:
        word = f"--{flag}"
        if len(word) + 1 <= free:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
        free = width - len(lines[-1]) - len(" \\")
    return " \\\n".join(lines)


def _indented(line: str, style: str = "") -> Padding:
    return Padding(Text(line, style=style), (0, 0, 0, 2))


def _answer(plan: Plan, best: Choice, width: int) -> list[RenderableType]:
    narrow = width < NARROW
    start = "the server" if best.replicas == 1 else f"each of the {best.replicas:,} servers"
    command = shell_lines(best.vllm_command, width)
    return [
        Text(headline(best), style="bold green"),
        *(_indented(line) for line in reasons(plan, best)),
        *(_indented(f"Note: {note}", "yellow") for note in best.notes),
        Text(""),
        latency_table(best.prediction, plan.question.slo, narrow=narrow, brief=width < _NAMED),
        _indented(f"How sure: {trust_words(best.prediction)}"),
        _indented(verified_words(best)),
        *([_indented(confidence_words(best))] if best.confidence is not None else []),
        Text(""),
        *_margins(plan, best),
        ledger_table(best.memory, narrow=narrow),
        _indented(capacity_words(best.memory)),
        Text("\nWhat it costs", style="bold"),
        *(_indented(line) for line in cost_lines(plan, best)),
        *_day(plan),
        *_features(plan),
        Text(f"\nStart {start} with", style="bold"),
        Text(f"{command}\n", style="cyan", no_wrap=True, overflow="ignore"),
    ]


def _margins(plan: Plan, best: Choice) -> list[RenderableType]:
    """Lay out which reason adds how many servers."""
    if plan.margins is None:
        return []
    made = table("", *REASON_COLUMNS)
    made.columns[-1].justify = "left"
    for row in reason_rows(plan.margins, best):
        made.add_row(*row)
    return [made, *(_indented(line) for line in margin_lines(plan)), Text("")]


def _day(plan: Plan) -> list[RenderableType]:
    """Lay out what scaling by the hour costs beside servers for the peak."""
    if plan.day is None:
        return []
    fleets, hours = table("", *FLEET_COLUMNS), table("", *hour_columns(plan.day))
    for made, rows in ((fleets, fleet_rows(plan.day)), (hours, hour_rows(plan.day))):
        for row in rows:
            made.add_row(*row)
    lines = [_indented(line) for line in day_lines(plan.day)]
    return [Text("\nOver the day", style="bold"), *lines, fleets, hours]


def _features(plan: Plan) -> list[RenderableType]:
    """Lay out what each feature gains or loses."""
    lines = [_indented(line) for line in feature_lines(plan.features)]
    return [Text("\nFeatures", style="bold"), *lines] if lines else []


def _alternatives(plan: Plan, best: Choice, width: int, top: int) -> list[RenderableType]:
    """Lay out one line a GPU type, cheapest first, after the winner and its own runner-up."""
    narrow = width < _WIDE
    money = ("$/h", "$/Mtok")
    wide = () if narrow else ("TTFT", "ITL", "binds", "numbers")
    made = table("What else would serve", "GPU", "GPUs", "servers", "format", *money, *wide)
    slo = plan.question.slo
    others = runners_up(plan)
    for choice in (best, *others[:top]):
        found = choice.prediction
        rest = (
            milliseconds(found.ttft_ms.at(slo.percentile)),
            milliseconds(found.itl_ms.at(slo.at(Limit.ITL))),
            BINDS[found.bottleneck],
            found.calibrated.value,
        )
        made.add_row(
            choice.gpu,
            str(choice.gpu_count),
            f"{choice.replicas} x {layout(choice.engine)}",
            choice.engine.weight_format,
            usd(choice.usd_per_hour),
            usd(choice.usd_per_million_tokens, 3),
            *(() if narrow else rest),
            style="green" if choice is best else "",
        )
    unseen = ", ".join(f"{c.gpu} ({c.gpu_count})" for c in others[top:])
    return [made, *([_indented(f"Also, with so many GPUs: {unseen}.")] if unseen else []), Text("")]


def runners_up(plan: Plan) -> list[Choice]:
    """Return the best of every other GPU type, and the next best of the winner's."""
    first: dict[str, Choice] = {}
    for choice in plan.alternatives:
        first.setdefault(choice.gpu, choice)
    return list(first.values())


def _lost(plan: Plan, width: int) -> list[RenderableType]:
    groups, narrow = lost_groups(plan), width < NARROW
    if not groups:
        return []
    wide = () if narrow else ("GPU types",)
    made = table("What lost", "because", "cases", *wide, "closest miss", "needs", "has")
    for group in groups:
        near = group.closest
        made.add_row(
            LIMIT[group.limit],
            f"{group.cases:,}",
            *(() if narrow else (str(group.gpus),)),
            case_words(near),
            amount(group.limit, near.needed),
            amount(group.limit, near.available),
        )
    return [made]
