"""Requests simulated a second on one core, at several rates of chat traffic."""

from __future__ import annotations

import time

import fitcalc
from fitcalc import Rejection, Traffic

GOAL = 20_000.0
RATES = (2.0, 8.0, 20.0)
COUNT = 4000


def requests_a_second(qps: float, count: int = COUNT) -> float:
    """Requests simulated a second of this core, in the best of three runs. [1/s]"""
    chat = Traffic(qps=qps, isl=575, osl=248, num_requests=count)
    spans: list[float] = []
    for _ in range(3):
        start = time.process_time()
        if isinstance(fitcalc.simulate("llama-3.1-8b", "h100", None, chat), Rejection):
            raise SystemExit("the benchmark's own question was refused")
        spans.append(time.process_time() - start)
    return count / min(spans)


def main() -> None:
    """Print each rate's speed beside the goal."""
    for qps in RATES:
        print(f"{qps:4g} req/s {requests_a_second(qps):10,.0f}   at least {GOAL:,.0f} a second")


if __name__ == "__main__":
    main()
