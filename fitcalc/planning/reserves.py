"""What a plan answers about its size: which reason adds how many servers."""

from __future__ import annotations

from fitcalc.answers import Row


class Reason(Row):
    """Servers that one reason adds.

    Attributes:
        reason: traffic, headroom, confidence, growth, spare or fit.
        replicas: Servers it adds; ``fit`` may take some away. [1]
        usd_per_hour: What they add to the bill; ``None`` where no price is known. [USD/h]
        why: In words.
    """

    reason: str
    replicas: int
    usd_per_hour: float | None
    why: str


class Margins(Row):
    """What the chosen size survives, reason by reason.

    Attributes:
        reasons: In the order in which they are added; they sum to the servers chosen.
        peak_minute: Requests of the busiest minute of a day over those of a mean one. [1]
        growth_factor: Load that was planned for over today's. [1]
        today_lasts_months: When servers sized for today's load carry all that the promise allows;
            ``None`` = nothing grows. [months]
        lasts_months: The same of the servers chosen. [months]
    """

    reasons: tuple[Reason, ...]
    peak_minute: float | None
    growth_factor: float
    today_lasts_months: float | None
    lasts_months: float | None
