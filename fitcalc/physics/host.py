"""The host's share of a step and of a request, fitted to end-to-end runs.

The figures live in ``calibration/results/engine.toml``; ``fitcalc.calibrate.host`` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import cast

from fitcalc.catalog.tables import figure, read_toml
from fitcalc.physics.terms import HostTerm


@cache
def host_table() -> Mapping[str, float]:
    """Return the fitted host coefficients in base units."""
    table = read_toml("calibration", "results", "engine.toml")
    sources = cast("Mapping[str, object]", table["sources"])
    rows = cast("Mapping[str, object]", table["host"])
    return {key: figure(row, f"engine.host.{key}", sources).base for key, row in rows.items()}


def host_term(*, asynchronous: bool) -> HostTerm:
    """Return the host's coefficients for an engine that overlaps host and device, or does not."""
    fitted = host_table()
    return HostTerm(
        step_s=fitted["step"],
        sequence_s=fitted["sequence"],
        prompt_s=fitted["prompt"],
        chunk_s=fitted["chunk"],
        overlap=float(asynchronous),
        frontend_s=fitted["frontend"],
        token_s=fitted["token"],
    )
