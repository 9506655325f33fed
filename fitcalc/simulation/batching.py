"""Three ways to batch side by side: static, dynamic and continuous.

Static: wait until the batch is full, pad every prompt to the longest, and give nobody an answer
until the longest one is done; as a served ``generate()`` does. Dynamic: the same, but a batch that
is not full leaves when its first request has waited long enough (NVIDIA Triton's dynamic batcher).
Continuous: vLLM, where requests join and leave at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

import numpy as np

from fitcalc.errors import InvalidValue
from fitcalc.inputs.trace import Trace
from fitcalc.physics.step import StepTimes
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.law import StepLaw, step_law
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.units import Array


class Batching(StrEnum):
    """How requests come together in a batch."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    CONTINUOUS = "continuous"


@dataclass(frozen=True, slots=True, eq=False)
class BatchingRun:
    """What one discipline made of the requests.

    Attributes:
        batching: The discipline.
        first_token_s: When each user saw the first token: padded batches answer at once. [s]
        finish_s: When each user had the whole answer. [s]
        arrival_s: When each request was sent. [s]
        useful_tokens: Prompt and output tokens that somebody asked for. [tokens]
        computed_tokens: Tokens computed for them, padding included. [tokens]
        busy_s: Time in steps. [s]
    """

    batching: Batching
    first_token_s: Array
    finish_s: Array
    arrival_s: Array
    useful_tokens: int
    computed_tokens: int
    busy_s: float

    @property
    def waste(self) -> float:
        """Share of the computed tokens that nobody asked for. [1]"""
        return 1.0 - self.useful_tokens / self.computed_tokens

    @property
    def duration_s(self) -> float:
        """First request sent to last answer. [s]"""
        return float(self.finish_s.max() - self.arrival_s.min())


def compare_batching(
    model: StepTimes,
    trace: Trace,
    settings: SchedulerSettings,
    *,
    batch: int | None = None,
    window_s: float = 0.05,
) -> dict[Batching, BatchingRun]:
    """Serve the same requests by each discipline.

    Args:
        model: Time of a step and of the front end.
        trace: The requests, an open loop.
        settings: vLLM's settings, for continuous batching.
        batch: Sequences of a full padded batch; ``None`` = as many as the settings and the KV
            blocks hold at the longest lengths. [1]
        window_s: How long a dynamic batch waits for more. [s]

    Raises:
        InvalidValue: no sequence fits, or a batch or window that makes no sense.
    """
    longest = int(trace.isl.max() + trace.osl.max())
    held = -(-longest // settings.block_size)
    fitting = min(settings.seats, (settings.num_gpu_blocks - 1) // held)
    size = fitting if batch is None else batch
    if not 1 <= size <= max(fitting, 0):
        raise InvalidValue("batch", size, f"give 1 to {fitting} sequences of {longest} tokens")
    if not 0.0 <= window_s < inf:
        raise InvalidValue("window_s", window_s, "give a finite time of 0 s or more")
    law = step_law(model, sequences=size, tokens=settings.max_num_batched_tokens, longest=longest)
    came = trace.arrival_s + np.asarray(model.frontend_s(trace.isl.astype(np.float64)))
    return {
        Batching.STATIC: _padded(law, trace, came, settings, Batching.STATIC, size, inf),
        Batching.DYNAMIC: _padded(law, trace, came, settings, Batching.DYNAMIC, size, window_s),
        Batching.CONTINUOUS: _continuous(model, trace, settings),
    }


def _continuous(model: StepTimes, trace: Trace, settings: SchedulerSettings) -> BatchingRun:
    seen = simulate_requests(model, trace, settings)
    return BatchingRun(
        Batching.CONTINUOUS,
        seen.first_token_s,
        seen.finish_s,
        seen.arrival_s,
        _useful(trace) - int(seen.cached_tokens.sum()),
        sum(server.computed_tokens for server in seen.servers),
        seen.busy_s,
    )


def _useful(trace: Trace) -> int:
    """Tokens that pass through the layers for every request alone: the last is not fed back."""
    return int((trace.isl + trace.osl - 1).sum())


def _padded(  # noqa: PLR0917 - one loop over batches
    law: StepLaw,
    trace: Trace,
    came: Array,
    settings: SchedulerSettings,
    batching: Batching,
    size: int,
    window_s: float,
) -> BatchingRun:
    count = len(trace)
    order = np.argsort(came, kind="stable")
    finish, computed, busy, now, first = np.zeros(count), 0, 0.0, 0.0, 0
    while first < count:
        full = min(first + size, count) - 1
        leaves = float(came[order[full]])
        if leaves > max(now, came[order[first]] + window_s):
            leaves = max(now, float(came[order[first]]) + window_s)
        start = max(now, leaves)
        mine = order[first : first + size]
        mine = mine[came[mine] <= start]
        isl, osl = int(trace.isl[mine].max()), int(trace.osl[mine].max())
        lasting = _prefill_s(law, len(mine), isl, settings.max_num_batched_tokens)
        if osl > 1:
            lasting += law.decode_s(len(mine), len(mine) * (isl + 1), osl - 1)
        now = start + lasting
        busy += lasting
        computed += len(mine) * (isl + osl - 1)
        finish[mine] = now
        first += len(mine)
    return BatchingRun(batching, finish, finish, trace.arrival_s, _useful(trace), computed, busy)


def _prefill_s(law: StepLaw, sequences: int, isl: int, budget: int) -> float:
    """Time to compute padded prompts, as many at once as fit the budget. [s]"""
    together = max(1, min(sequences, budget // isl))
    rounds, rest = divmod(sequences, together)
    times = [(rounds, together), (1, rest)]
    total = 0.0
    for repeats, prompts in times:
        if not prompts:
            continue
        if prompts == 1 and isl > budget:
            chunks = [(at, min(budget, isl - at)) for at in range(0, isl, budget)]
            one = sum(
                law.mixed_s(0, 0, n, n * at + n * n / 2.0, int(at + n == isl)) for at, n in chunks
            )
        else:
            one = law.mixed_s(0, 0, prompts * isl, prompts * isl * isl / 2.0, prompts)
        total += repeats * one
    return total
