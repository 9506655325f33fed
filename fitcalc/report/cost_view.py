"""What a plan costs, in words: the bill, the tokens, what stays idle."""

from __future__ import annotations

from fitcalc.planning.choice import Choice, Hosted, Plan
from fitcalc.report.words import number, usd

_PERCENT = 100.0
_HOSTS = 2
"""Hosts that are named beside the cheapest. [1]"""


def cost_lines(plan: Plan, best: Choice) -> tuple[str, ...]:
    """Say what it costs, where the price is from, and what of it is idle."""
    if best.usd_per_hour is None:
        return ("No price is known for this GPU.",)
    lines = (_bill(plan, best.usd_per_hour, best.price_source), _tokens(plan, best))
    return lines if plan.hosted is None else (*lines, hosted_words(plan.hosted, best.usd_per_hour))


def _bill(plan: Plan, money: float, source: str) -> str:
    asked = plan.question
    if asked.currency == "USD":
        return f"{usd(money)} an hour: {source}."
    own = money / asked.usd_per_unit
    worth = f"1 {asked.currency} = {usd(asked.usd_per_unit, 4)}"
    return f"{own:,.2f} {asked.currency} an hour ({usd(money)}; {worth}): {source}."


def _tokens(plan: Plan, best: Choice) -> str:
    share = plan.question.buying.mean_share
    when = "at the rate asked for" if share == 1 else f"at {_PERCENT * share:g} % of the rate"
    each = (
        f"The whole bill over the tokens {when}: {usd(best.usd_per_million_input_tokens, 3)} per "
        f"million input tokens, {usd(best.usd_per_million_output_tokens)} per million output "
        f"tokens, {usd(best.usd_per_million_tokens, 3)} per million of both."
    )
    both = best.usd_per_million_tokens
    if both is None or best.idle_share <= 0:
        return each
    return (
        f"{each} {_PERCENT * best.idle_share:.0f} % of what is bought is idle then; full, a "
        f"million of both would cost {usd(both * (1.0 - best.idle_share), 3)}."
    )


def hosted_words(beside: Hosted, money: float) -> str:
    """Say what hosts ask for the same tokens, and below which rate they are cheaper."""
    first, *others = beside.hosts
    said = (
        f"A hosted API instead: {first.host} lists {usd(first.usd_per_million_input_tokens, 3)} in "
        f"and {usd(first.usd_per_million_output_tokens, 3)} out per million "
        f"({first.checked}): {usd(first.usd_per_hour)} an hour for the same tokens, "
        f"{_PERCENT * first.usd_per_hour / money:.0f} % of what the servers cost"
    )
    if others:
        rest = ", ".join(f"{o.host} {usd(o.usd_per_hour)}" for o in others[:_HOSTS])
        said += f"; next {rest}"
    even = beside.break_even_qps
    if even is None:
        return f"{said}. At no rate are such servers cheaper than that."
    return f"{said}. Below {number(even)} req/s it is cheaper than such servers."
