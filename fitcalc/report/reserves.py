"""How sure a size is, and what each of its servers is for, in words and rows."""

from __future__ import annotations

from fitcalc.planning.choice import Choice, Plan
from fitcalc.planning.reserves import Margins
from fitcalc.report.words import usd

_PERCENT = 100.0
REASON_COLUMNS = ("why so many servers", "servers", "$/h", "what for")
_NAMES = {
    "traffic": "traffic alone",
    "headroom": "+ headroom",
    "confidence": "+ confidence",
    "growth": "+ growth",
    "spare": "+ spare",
    "fit": "+ fit",
}


def confidence_words(best: Choice) -> str:
    """Say how sure the size chosen is to keep its promise."""
    if best.confidence is None:
        return ""
    sure = f"{_PERCENT * best.confidence:.0f} %" if best.confidence else "less than 16 %"
    return f"This size keeps the promise with {sure} confidence, the prediction's error counted."


def reason_rows(found: Margins, best: Choice) -> list[tuple[str, str, str, str]]:
    """Return a row for each reason, and the sum."""
    rows = [
        (_NAMES[one.reason], f"{one.replicas:+d}", usd(one.usd_per_hour), one.why)
        for one in found.reasons
    ]
    return [*rows, ("in all", f"{best.replicas:d}", usd(best.usd_per_hour), "")]


def margin_lines(plan: Plan) -> tuple[str, ...]:
    """Say what the size survives."""
    found, best, risk = plan.margins, plan.best, plan.question.risk
    if found is None or best is None:
        return ()
    lines = []
    if risk.spare:
        lost = f"{risk.spare} of {best.replicas} servers"
        lines.append(f"The promise holds with {lost} lost; what users feel is told for that case.")
    if found.today_lasts_months is not None and found.lasts_months is not None:
        lines.append(
            f"The load grows {_PERCENT * risk.growth:.3g} % a month: servers for today's load "
            f"carry it for {found.today_lasts_months:.1f} months, headroom used up; these for "
            f"{found.lasts_months:.1f}."
        )
    if found.peak_minute is not None:
        lines.append(
            f"The busiest minute of a day brings {found.peak_minute:.2f} times the mean; "
            f"{_PERCENT * best.headroom:.0f} % free is room for "
            f"{1.0 / max(1.0 - best.headroom, 0.1):.2f} times."
        )
    return tuple(lines)
