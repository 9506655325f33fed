"""What serving adds to kernels timed alone, fitted to end-to-end runs.

The figures live in ``calibration/results/engine.toml``; ``fitcalc calibrate --runs`` writes them.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast

from fitcalc.catalog.tables import Toml, figure, read_toml
from fitcalc.inputs.engine import ResolvedEngine, release
from fitcalc.physics.launch import launching
from fitcalc.physics.terms import HostTerm
from fitcalc.units import Values

_FIRST_V1 = (0, 8)
"""From this version on vLLM's V1 engine is the default. [1]"""


class Serving(NamedTuple):
    """Coefficients of serving that all models and GPUs share.

    Attributes:
        step: Scheduling and launch of a step where the engine is synchronous. [s]
        sequence: Input preparation, sampling and output of a sequence. [s]
        prompt: Extra of a prompt that gets its first token. [s]
        chunk: Extra of a prompt token in a layer. [s]
        flop: Extra of a prompt's 16-bit FLOP; of one in a format twice as fast, half of it. [s]
        frontend: HTTP and first answer, a request. [s]
        token: Tokenizing, a prompt token. [s]
        skew: Time for which the ranks of an all-reduce wait for the last of them. [s]
        floor: Share of decode attention's floor alone that it keeps inside a CUDA graph. [1]
    """

    step: float
    sequence: float
    prompt: float
    chunk: float
    flop: float
    frontend: float
    token: float
    skew: float
    floor: float


@cache
def serving() -> Serving:
    """Return the fitted coefficients in base units."""
    table = read_toml("calibration", "results", "engine.toml")
    sources, rows = cast("Toml", table["sources"]), cast("Toml", table["serving"])
    return Serving(**{
        key: figure(rows.get(key), f"engine.serving.{key}", sources).base
        for key in Serving._fields
    })  # fmt: skip


def host_term(fitted: Serving, layers: int, flops: Values, engine: ResolvedEngine) -> HostTerm:
    """Return what a step and a request cost beside kernels for a model and an engine.

    Args:
        fitted: The coefficients.
        layers: The model's layers. [1]
        flops: Of a token's products on one rank, as ``half_flops``. [FLOP]
        engine: Version, and whether the host schedules a step while the device runs another.
    """
    host = launching()
    legacy = host.legacy_sequence if release(engine.version) < _FIRST_V1 else 0.0
    return HostTerm(
        step_s=fitted.step,
        sequence_s=fitted.sequence + legacy,
        prompt_s=fitted.prompt,
        chunk_s=fitted.chunk * layers + fitted.flop * flops,
        overlap=float(engine.async_scheduling),
        frontend_s=fitted.frontend,
        token_s=fitted.token,
    )
