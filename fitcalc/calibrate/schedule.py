"""What a run's schedule makes of step times: its mean latencies as weighted sums of steps.

The schedule of a closed loop hardly depends on how long steps take. So it is simulated once; then
TPOT and the part of TTFT after the front end are sums of the steps' times with fixed weights:

    TPOT = sum over requests of (end of last - end of first token's step) / (osl - 1) / requests

Steps alike in decodes, context and prompt tokens are joined, which leaves some fifty points a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Rejection
from fitcalc.calibrate.runs import Run
from fitcalc.errors import TableError
from fitcalc.inputs.trace import Trace
from fitcalc.physics.step import StepModel
from fitcalc.planning.scheduling import settings_of
from fitcalc.planning.server import ledger_of
from fitcalc.simulation.arrivals import ClosedLoop
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.fleet import tokenizing_waits
from fitcalc.units import Array

_DOUBLINGS = 8.0
"""Groups of decodes a doubling. [1]"""
_CONTEXT_DOUBLINGS = 3.0
"""Groups of context a doubling. [1]"""
_CHUNKS = 24.0
"""Groups of prompt tokens up to the largest step. [1]"""
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Steps of a run, joined where alike.

    Attributes:
        work: Columns decodes, context, prefill_tokens, prefill_work, prefills.
        tpot_weight: Of each in the mean TPOT. [1]
        ttft_weight: Of each in the mean TTFT, front end apart. [1]
        tokens_ahead: Prompt tokens that a request waits to be tokenized, its own included. [tokens]
    """

    work: Array
    tpot_weight: Array
    ttft_weight: Array
    tokens_ahead: float


def points(run: Run, step: StepModel) -> Points:
    """Simulate a run under a step law and return its weights.

    Raises:
        TableError: the model does not fit, so that the run cannot have been.
    """
    ledger = ledger_of(run.setup)
    if isinstance(ledger, Rejection):
        raise TableError(f"runs {run.model} on {run.gpu} cannot be: {ledger.reason}.")
    trace = Trace.from_traffic(run.traffic, seed=0, num_requests=run.traffic.num_requests)
    clients, count = run.traffic.concurrency or 1, len(trace)
    isl = trace.isl.astype(np.float64)
    ahead = isl + tokenizing_waits(isl[:clients], count, 1)
    front = np.asarray(step.frontend_s(0.0)) + np.asarray(step.host.token_s) * ahead
    settings = settings_of(run.setup, ledger)
    engine = Engine(step, trace, settings, ClosedLoop(clients, front.tolist()))
    engine.run()
    ends, durations = engine.timeline.ends_s(), engine.timeline.durations_s()
    first, last = np.asarray(engine.requests.first), np.asarray(engine.requests.finish)
    between = 1.0 / np.maximum(trace.osl - 1.0, 1.0) / count
    each = _between(first, last, between, len(ends))
    sent = np.asarray(_sent_steps(engine))
    came = np.where(sent < 0, 0.0, ends[sent]) + front
    met = np.minimum(np.searchsorted(ends, came), first)
    share = np.clip((ends[met] - came) / durations[met], 0.0, 1.0) / count
    until_first = _between(met, first, np.full(count, 1.0 / count), len(ends))
    np.add.at(until_first, met, share)
    return _joined(engine, each, until_first, settings.max_num_batched_tokens, float(ahead.mean()))


def _sent_steps(engine: Engine) -> list[int]:
    if not isinstance(engine.arrivals, ClosedLoop):
        raise TypeError("a run is a closed loop")
    return engine.arrivals.sent_step


def _between(after: Array, upto: Array, weight: Array, steps: int) -> Array:
    """Add a weight to every step after one and up to another, for each request."""
    edges = np.zeros(steps + 1)
    np.add.at(edges, after.astype(np.int64) + 1, weight)
    np.add.at(edges, upto.astype(np.int64) + 1, -weight)
    total: Array = np.cumsum(edges)[:steps]
    return total


def _joined(engine: Engine, each: Array, until: Array, budget: int, ahead: float) -> Points:
    rows = np.array(engine.timeline.steps, dtype=np.float64)
    counts = rows[:, 0].astype(np.int64)
    starts = np.cumsum(counts) - counts
    work = np.repeat(rows[:, 1:], counts, axis=0)
    work[:, 1] += work[:, 0] * (np.arange(len(work)) - np.repeat(starts, counts))
    kinds = np.column_stack((
        np.round(np.log2(work[:, 0] + 1.0) * _DOUBLINGS),
        np.round(np.log2(work[:, 1] + 1.0) * _CONTEXT_DOUBLINGS),
        np.ceil(work[:, 2] / budget * _CHUNKS),
    ))  # fmt: skip
    _, group = np.unique(kinds, axis=0, return_inverse=True)
    group = group.ravel()
    weight = each + until + _TINY
    total = np.bincount(group, weight)
    columns = [np.bincount(group, weight * column) / total for column in work.T]
    return Points(
        work=np.column_stack(columns),
        tpot_weight=np.bincount(group, each).astype(np.float64),
        ttft_weight=np.bincount(group, until).astype(np.float64),
        tokens_ahead=ahead,
    )
