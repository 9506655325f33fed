"""How far and how fast servers may be added and taken away over the day."""

from __future__ import annotations

from pydantic import Field

from fitcalc.inputs.question import Question


class Scaling(Question):
    """The limits of an autoscaler.

    Attributes:
        min_replicas: Servers that always run. [1]
        max_replicas: Most servers; ``None`` = what the peak takes. [1]
        cold_start_s: From the order to the first token of a new server; ``None`` = estimated. [s]
        hold_s: How long a server stays after it was last needed. [s]
            The default is Kubernetes': ``--horizontal-pod-autoscaler-downscale-stabilization``.
    """

    min_replicas: int = Field(default=1, ge=1, le=100_000)
    max_replicas: int | None = Field(default=None, ge=1, le=100_000)
    cold_start_s: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    hold_s: float = Field(default=300.0, ge=0, le=86_400, allow_inf_nan=False)
