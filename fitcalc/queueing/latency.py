"""TTFT, ITL, TPOT and E2E of servers in their steady state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fitcalc.queueing.mixture import Gaps, Mixture
from fitcalc.queueing.profile import Profile
from fitcalc.queueing.steady import Steady
from fitcalc.units import Array, Values

SHARED_PROMPTS = 2.0
"""From this many prompts a token budget on, waiting prompts are taken together (gated)."""
_BUSIEST = 0.98
_MOST_PROMPTS = 10
# A request averages its step times over its own stay, during which the batch, whose memory is
# one stay long (an Ornstein-Uhlenbeck law), moves: 2 (T/r - 1 + e^{-T/r}) / (T/r)^2 at T = r.
STAY_AVERAGING = 2.0 * np.exp(-1.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """The latencies of servers.

    Attributes:
        ttft: Arrival to first token.
        gaps: Gaps between tokens.
        tpot: Mean gap of a request.
        e2e: Arrival to last token.
    """

    ttft: Mixture
    gaps: Gaps
    tpot: Mixture
    e2e: Mixture


def latency(server: Profile, state: Steady, burstiness: float = 1.0) -> Latency:
    """Compose the laws of every latency from the law of the batch."""
    ttft = ttft_law(server, state, burstiness)
    gaps = gap_law(server, state)
    weight = gap_weight(server, state)
    step = np.maximum(server.step_s, server.decode_s)
    center = (weight * step).sum(axis=1, keepdims=True)
    across = (weight * (step - center) ** 2).sum(axis=1)
    within = gaps.variance / max(server.decode_steps, 1.0)
    spread = STAY_AVERAGING * across + within
    gap = np.where(state.others < 1.0, state.gap_s, gaps.mean)
    tpot = _single(np.zeros_like(spread), gap, spread)
    steps = server.decode_steps
    mean = ttft.total_mean + steps * gap
    growth = steps**2 * (spread * (1.0 + server.cv2_decode) + gap**2 * server.cv2_decode)
    e2e = _single(np.zeros_like(mean), mean, ttft.total_variance + growth)
    return Latency(ttft, gaps, tpot, e2e if server.decodes else ttft)


def ttft_law(server: Profile, state: Steady, burstiness: float = 1.0) -> Mixture:
    r"""Law of the time to first token, by batch size.

    Where two or more prompts fit a step's budget, an arrival waits for the rest of the running step
    and is taken with all others that came meanwhile: steps last $T = T_d + N X$ with N Poisson of
    mean $\lambda T$, a gated vacation queue:

    $$E[\mathrm{TTFT}] = \frac{R}{2} + T_d + X (1 + \lambda R), \qquad
    R = \frac{E[T^2]}{E[T]} = \frac{T_d}{1-\rho} + \frac{\lambda X^2 (1 + c^2)}{1 - \rho^2}$$

    Where fewer fit, prompts are served one after the other, $S = n_c T_d + X$, an M/G/1 queue whose
    vacations are decode steps: $E = \lambda S^2 (1 + c^2) / 2 (1 - \rho) + T_d / 2 + S$.

    References:
        L. Takacs, "Introduction to the Theory of Queues", 1962 (Pollaczek-Khinchine);
        H. Takagi, "Queueing Analysis" vol. 1, 1991, ch. 2 (vacations, gated service).
    """
    rate = np.minimum(state.rate, state.capacity)[:, None]
    spread = (1.0 + 1.0 / burstiness) / 2.0
    shift, mean, variance = first_token(server, rate, spread)
    mean, variance = mean * state.others[:, None], variance * state.others[:, None]
    # Who finds every place taken first waits for one, then is served beside a full batch.
    waiting, wait = state.waiting[:, None], state.slot_wait_s[:, None]
    return Mixture(
        shift=np.concatenate([shift, shift[:, -1:]], axis=1),
        mean=np.concatenate([mean, mean[:, -1:] + wait], axis=1),
        variance=np.maximum(
            np.concatenate([variance, variance[:, -1:] + state.slot_wait_cv2 * wait**2], axis=1),
            0.0,
        ),
        weight=np.concatenate([state.weight * (1.0 - waiting), waiting], axis=1),
    )


def first_token(server: Profile, rate: Array, spread: float) -> tuple[Array, Array, Array]:
    """Least TTFT, mean wait on top and its variance, at each batch size. [s, s, s^2] (row, node).

    Args:
        server: The servers' profile.
        rate: Requests a second, for all nodes (row, 1) or one a node (row, node). [1/s]
        spread: Half the sum of the squared variations of arrivals and of a Poisson law. [1]
    """
    base, prefill = server.decode_s, server.prefill_s
    cv2 = server.cv2_prefill
    own = server.chunks * base + prefill

    load = np.minimum(rate * prefill, _BUSIEST)
    mean_step = base / (1.0 - load)
    extra = rate * prefill**2 * (1.0 + cv2) * spread / (1.0 - load**2)
    seen = mean_step + extra
    gated_mean = seen / 2.0 + prefill * rate * seen
    gated_var = (
        seen * (2.0 * seen - mean_step) / 3.0 - seen**2 / 4.0
        + prefill**2 * rate * seen * (1.0 + cv2) * spread
        + (rate * prefill + 1.0) * rate * prefill * seen * extra
    )  # fmt: skip

    gated_mean = gated_mean + server.ahead * mean_step
    gated_var = gated_var + server.ahead * mean_step * extra

    busy = np.minimum(rate * own, _BUSIEST)
    queue = spread * rate * own**2 * (1.0 + cv2) / (2.0 * (1.0 - busy))
    third = rate * own**3 * (1.0 + 3.0 * cv2) / (3.0 * (1.0 - busy))
    some, next_step = _carrying(server, rate)
    chunk = own / server.chunks - base
    single_mean = queue + base / 2.0 + server.ahead * next_step
    single_var = queue**2 + third * spread + base**2 / 12.0
    single_var = single_var + server.ahead * some * (1.0 - some) * chunk**2

    together = server.prompts >= SHARED_PROMPTS
    mean = np.where(together, gated_mean, single_mean)
    variance = np.where(together, gated_var, single_var) + prefill**2 * cv2
    return own + server.lag_s + server.frontend_s[:, None], mean, variance


def _carrying(server: Profile, rate: Array) -> tuple[Array, Array]:
    """Share of steps that carry a prompt served alone, and the mean step. [1], [s] (row, node)."""
    carrying = rate * np.maximum(1.0 / server.prompts, 1.0)
    own = server.chunks * server.decode_s + server.prefill_s
    free = np.maximum(1.0 - rate * own, 1.0 - _BUSIEST)
    steps = carrying * server.decode_s + free
    return carrying * server.decode_s / steps, server.decode_s / steps


def gap_weight(server: Profile, state: Steady) -> Array:
    """Share of all gaps between tokens that fall to each batch size. [1] (row, node)."""
    step = np.where(server.nodes > 0, server.step_s, 1.0)
    tokens = state.weight * server.nodes / step
    # Where hardly any answer has a second token, who decodes does so alone.
    tokens[:, 1] += tokens.sum(axis=1) <= 0.0
    total = tokens.sum(axis=1, keepdims=True)
    result: Array = tokens / total
    return result


def gap_law(server: Profile, state: Steady) -> Gaps:
    """Law of the gaps between tokens: steps of decodes alone, and steps that carry prompts."""
    lows, highs, weights = zip(*_kinds(server, state), strict=True)
    return Gaps(np.concatenate(lows, 1), np.concatenate(highs, 1), np.concatenate(weights, 1))


def gaps_within(server: Profile, state: Steady, limit_s: Values) -> Array:
    """Share of gaps at or under a limit: ``gap_law``'s, without laying it out. [1] (row,)."""
    if not server.decodes:
        return np.ones(len(server.nodes))
    share, limit = np.zeros(len(server.nodes)), np.reshape(limit_s, (-1, 1))
    for low, high, weight in _kinds(server, state):
        if (low > limit).all():
            break
        inside = np.clip((limit - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        share += (weight * inside).sum(axis=1)
    return share


def _kinds(server: Profile, state: Steady) -> Iterator[tuple[Array, Array, Array]]:
    """Yield shortest and longest gap and weight of steps with 0, 1, 2, ... prompts. (row, node).

    With a shared budget the number of prompts in a step is negative-binomial (Poisson over a
    random step); without, a step carries a chunk or none.
    """
    rate = (np.minimum(state.rate, state.capacity) * state.others)[:, None]
    # Whoever starts to decode finds more prompts waiting than there are at a random step.
    found = server.behind(rate) * (state.others >= 1.0)[:, None]
    rate = rate * (1.0 + found / np.maximum(server.nodes, 1.0))
    base, prefill, weight = server.decode_s, server.prefill_s, gap_weight(server, state)
    low_edge, high_edge = _edges(base)
    load = np.minimum(rate * prefill, _BUSIEST)
    mean_step = np.maximum(base / (1.0 - load), 1e-12)
    arrivals = rate * mean_step
    step_var = prefill**2 * arrivals * (1.0 + server.cv2_prefill) / (1.0 - load**2)
    shape = np.clip(mean_step**2 / np.maximum(step_var, 1e-18), 1e-3, 1e6)
    together = server.prompts >= SHARED_PROMPTS

    some, _ = _carrying(server, rate)
    share = np.where(together, (shape / (shape + arrivals)) ** shape, 1.0 - some)
    odds = arrivals / (shape + arrivals)
    yield low_edge, high_edge, weight * share
    left = weight * (1.0 - share)
    chunk = np.where(together, prefill, server.chunk_s - base)
    for count in range(1, _MOST_PROMPTS + 1):
        next_share = share * (count - 1.0 + shape) / count * odds
        share = np.where(together, next_share, some if count == 1 else 0.0)
        now = np.minimum(weight * share, left) if count < _MOST_PROMPTS else left
        left = left - now
        # Prompts that differ in length spread their step evenly, with the same variance.
        half = np.minimum(np.sqrt(3.0 * server.cv2_prefill / count), 1.0) * count * chunk
        yield low_edge + count * chunk - half, high_edge + count * chunk + half, now


def _edges(values: Array) -> tuple[Array, Array]:
    """Halfway points to the neighbouring nodes. (row, node) twice."""
    middle = (values[:, :-1] + values[:, 1:]) / 2.0
    low = np.concatenate([values[:, :1], middle], axis=1)
    high = np.concatenate([middle, values[:, -1:]], axis=1)
    low[:, 1] = values[:, 1]
    return np.minimum(low, high), np.maximum(low, high)


def _single(shift: Array, mean: Array, variance: Array) -> Mixture:
    """Return a mixture of one state."""
    columns = (shift[:, None], mean[:, None], variance[:, None])
    return Mixture(*columns, weight=np.ones_like(columns[0]))
