"""Time of one step prediction for 10,000 batch states: a dense and a mixture-of-experts model."""

from __future__ import annotations

import time

import numpy as np

from fitcalc import EngineArgs
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.model import load_model
from fitcalc.physics.step import StepModel
from fitcalc.planning.server import step_of
from fitcalc.planning.setup import Setup, set_up
from fitcalc.units import MILLI, Array

STATES = 10_000
RUNS = 100
LIMIT_MS = 10.0
MODELS = {"llama-3.1-70b": "fp8", "gpt-oss-120b": "mxfp4"}


def step(name: str, quantization: str) -> StepModel:
    """Build the step of a model on eight H100."""
    args = EngineArgs(tensor_parallel_size=8, quantization=quantization, max_model_len=16384)
    setup = set_up(load_model(name), load_gpu("h100"), args)
    if not isinstance(setup, Setup):
        raise SystemExit(f"the benchmark's own question was refused: {setup.reason}")
    return step_of(setup)


def states() -> tuple[Array, ...]:
    """Mixed batches: decodes, their context, prompt tokens, pairs, and prompts that end."""
    draw = np.random.default_rng(1)
    decodes = draw.integers(0, 512, STATES).astype(np.float64)
    prompt = np.where(draw.random(STATES) < 0.5, draw.integers(0, 8192, STATES), 0.0)
    return decodes, decodes * 4096.0, prompt, prompt**2 / 2.0, np.minimum(prompt, 1.0)


def main() -> None:
    """Print the shortest of several calls for each model."""
    batch = states()
    for name, quantization in MODELS.items():
        model, spans = step(name, quantization), []
        for _ in range(RUNS):
            start = time.perf_counter()
            model.step_s(*batch)
            spans.append(time.perf_counter() - start)
        print(f"{name:14} {STATES} states {min(spans) / MILLI:8.2f} ms   at most {LIMIT_MS:g}")


if __name__ == "__main__":
    main()
