"""The closed form against events: the same servers and step times, four shapes of traffic.

    python benchmarks/closed_form.py [REQUESTS]

Each row is one load: the closed form's error against a simulation of so many requests.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from fitcalc import EngineArgs, Lengths, Prediction, Rejection, Traffic, predict

REQUESTS = 20_000
LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
GOALS = {"TTFT mean": 0.05, "ITL p95": 0.10, "E2E mean": 0.05}
"""Mean absolute errors over all rows that are to be held. [1]"""


@dataclass(frozen=True)
class Shape:
    """A kind of traffic, and the server it reaches."""

    name: str
    model: str
    gpu: str
    engine: EngineArgs
    isl: Lengths
    osl: Lengths

    def traffic(self, qps: float, requests: int | None = None) -> Traffic:
        """Return this traffic at a rate. [1/s]"""
        return Traffic(qps=qps, isl=self.isl, osl=self.osl, num_requests=requests)


def _cut(mean: float) -> Lengths:
    """Lengths that differ as people's do, mildly."""
    return Lengths.lognormal(mean=mean, cv=0.5)


SHAPES = (
    Shape("chat", "llama-3.1-8b", "h100", EngineArgs(), Lengths.fixed(575), Lengths.fixed(248)),
    Shape(
        "long prompts",
        "70b",
        "h200",
        EngineArgs(tensor_parallel_size=2, quantization="fp8", max_model_len=16384),
        Lengths.fixed(8000),
        Lengths.fixed(500),
    ),
    Shape(
        "long answers",
        "qwen3-32b",
        "h100",
        EngineArgs(tensor_parallel_size=2, max_model_len=8192),
        Lengths.fixed(256),
        Lengths.fixed(1500),
    ),
    Shape(
        "mixed lengths",
        "llama-3.1-8b",
        "h100",
        EngineArgs(max_model_len=16384),
        _cut(1000),
        _cut(300),
    ),
)


def most(shape: Shape) -> float:
    """Largest stable rate of a server. [1/s]"""
    said = predict(shape.model, shape.gpu, shape.engine, shape.traffic(1e6), method="closed_form")
    return said.available if isinstance(said, Rejection) else 0.0


def compare(shape: Shape, load: float, requests: int) -> tuple[Prediction, Prediction]:
    """Predict a load in both ways."""
    rate = most(shape) * load
    said = predict(shape.model, shape.gpu, shape.engine, shape.traffic(rate), method="closed_form")
    seen = predict(
        shape.model, shape.gpu, shape.engine, shape.traffic(rate, requests), method="simulation"
    )
    if not isinstance(said, Prediction) or not isinstance(seen, Prediction):
        raise SystemExit(f"{shape.name} at {load} was refused: {said or seen}")
    return said, seen


def errors(said: Prediction, seen: Prediction) -> dict[str, float]:
    """Errors of one row. [1]"""

    def of(name: str, which: str) -> float:
        return float(getattr(getattr(said, name), which) / getattr(getattr(seen, name), which) - 1)

    return {
        "TTFT mean": of("ttft_ms", "mean"),
        "TTFT p95": of("ttft_ms", "p95"),
        "TTFT p99": of("ttft_ms", "p99"),
        "ITL mean": of("itl_ms", "mean"),
        "ITL p95": of("itl_ms", "p95"),
        "ITL p99": of("itl_ms", "p99"),
        "E2E mean": of("e2e_ms", "mean"),
        "E2E p99": of("e2e_ms", "p99"),
    }


def main() -> None:
    """Print one line a row, then the means beside the goals."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    rows: list[dict[str, float]] = []
    for shape in SHAPES:
        for load in LOADS:
            said, seen = compare(shape, load, requests)
            rows.append(errors(said, seen))
            if len(rows) == 1:
                print("| traffic | load | " + " | ".join(rows[0]) + " |")
                print("| --- |" + " ---: |" * (1 + len(rows[0])))
            cells = " | ".join(f"{100 * x:+.1f} %" for x in rows[-1].values())
            print(f"| {shape.name} | {load:g} | {cells} |", flush=True)
    for name in rows[0]:
        found = np.abs([row[name] for row in rows])
        goal = f"   goal {100 * GOALS[name]:.0f} %" if name in GOALS else ""
        print(f"{name:10} mean {100 * found.mean():5.1f} %  worst {100 * found.max():5.1f} %{goal}")


if __name__ == "__main__":
    main()
