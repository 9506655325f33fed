"""A server at every batch size: how long its steps take and how fast it finishes requests.

Everything here is elementwise over rows (candidate servers) and nodes (batch sizes), so that a
planner asks thousands of servers at once and a single prediction is a table of one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fitcalc.physics.step import StepTimes
from fitcalc.queueing.prefixes import PrefixRoom
from fitcalc.units import Array, Values

if TYPE_CHECKING:
    from fitcalc.inputs.traffic import Traffic

NODES: Array = np.array(
    [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024],
    dtype=np.float64,
)
"""Batch sizes at which a server is evaluated; between them everything is a straight line."""

_NO_STEPS = 1e-6
"""Stands for none where one divides by the steps after the first token. [1]"""
BUSIEST = 0.98
"""Share of the time in prefill beyond which a queue of prompts is not followed. [1]"""


@dataclass(frozen=True, slots=True)
class Profile:
    """Step times of each server (row) at each batch size (node).

    Attributes:
        nodes: Decoding sequences. [1] (row, node)
        max_batch: Sequences that slots and KV cache hold. [1] (row,)
        decode_s: A step of decodes alone. [s] (row, node)
        chunk_s: A step that carries the prefill chunk as well. [s] (row, node)
        chunks: Steps that one prompt's prefill takes. [1] (row, node)
        prefill_s: What one prompt's prefill adds to the steps it shares. [s] (row, node)
        lag_s: What the last chunk takes through a pipeline beyond its share of a step. [s]
        prompts: Prompts that fit the token budget beside the decodes. [1] (row, node)
        frontend_s: Time outside the engine before the first token. [s] (row,)
        ahead: Steps that are scheduled before the running one ends. [1] (row, node)
        decode_steps: Steps after the first token, osl - 1 where each makes one. [1]
        cv2_prefill: Squared coefficient of variation of the prefill work. [1], or (row, node)
        cv2_decode: The same of the output length. [1]
        hit: Share of prompt tokens that the prefix cache serves. [1] (row, node)
    """

    nodes: Array
    max_batch: Array
    decode_s: Array
    chunk_s: Array
    chunks: Array
    prefill_s: Array
    lag_s: Array
    prompts: Array
    frontend_s: Array
    ahead: Array
    decode_steps: float
    cv2_prefill: Values
    cv2_decode: float
    hit: Array

    @property
    def decodes(self) -> bool:
        """Whether any answer has a second token, and so a gap."""
        return self.decode_steps > _NO_STEPS

    @property
    def step_s(self) -> Array:
        r"""Mean step in balance, $T_d + (b/o) X$: each step admits what it completes. [s]"""
        return self.decode_s + self.nodes / self.decode_steps * self.prefill_s

    def behind(self, rate: Array) -> Array:
        r"""Prompts that a request leaves waiting as its own prefill ends. [1] (row, node).

        It stands still for each of them, on top of those that come while it decodes: Little's law
        over the Pollaczek-Khinchine sojourn, $\rho + \rho^2 (1 + c^2) / 2 (1 - \rho)$. A full
        server leaves none: a prompt comes in as another request ends.
        """
        load = np.minimum(rate * self.prefill_s, BUSIEST)
        left = load + load**2 * (1.0 + self.cv2_prefill) / (2.0 * (1.0 - load))
        free = np.maximum(1.0 - self.nodes / self.max_batch[:, None], 0.0)
        result: Array = left * free
        return result

    @property
    def completion_rate(self) -> Array:
        r"""Requests finished a second at each batch size, $\mu(b) = b / (o\,T(b))$. [1/s]"""
        busy = np.where(self.nodes > 0, self.decode_steps * self.step_s, 1.0)
        return self.nodes / busy


def profile(
    step: StepTimes, traffic: Traffic, max_batch: Values, max_num_batched_tokens: Values, *,
    prefix_caching: bool = True, nodes: Array = NODES, prefixes: PrefixRoom | None = None,
    tokens_a_step: float = 1.0, scheduled: float = 1.0,
) -> Profile:  # fmt: skip
    """Evaluate servers at every batch size under a traffic's lengths.

    Args:
        step: Step times of one server, or of a stack of servers (rows).
        traffic: Lengths and prefix hits; its rate is not used.
        max_batch: Most decoding sequences by slots and by KV cache, one a row. [1]
        max_num_batched_tokens: Token budget of a step, one a row. [tokens]
        prefix_caching: Whether the engine serves shared prefixes from its cache.
        nodes: Batch sizes to evaluate, from 0 up. [1]
        prefixes: Room for shared prefixes; ``None`` = every prompt finds its own.
        tokens_a_step: Tokens that a step makes of each sequence. [1]
        scheduled: Tokens of the budget that a decoding sequence takes. [1]
    """
    limit = np.atleast_1d(np.asarray(max_batch, dtype=np.float64))[:, None]
    budget = np.atleast_1d(np.asarray(max_num_batched_tokens, dtype=np.float64))[:, None]
    nodes = np.minimum(nodes[None, :], limit)
    most = traffic.hit_share if prefix_caching else 0.0
    found: Values = 1.0 if prefixes is None or not most else prefixes.found(nodes)
    hit = most * found
    prompt = traffic.isl.mean * (1.0 - hit)
    decode_steps = max((traffic.osl.mean - 1.0) / tokens_a_step, _NO_STEPS)
    context = nodes * traffic.held
    room = np.maximum(budget - nodes * scheduled, 1.0)
    tokens = np.minimum(room, prompt * np.maximum(1.0, nodes / decode_steps))
    share = tokens / prompt
    cv2 = _cv2(traffic.isl.mean, traffic.isl.second_moment)
    pairs = found * _pairs(traffic.isl.mean, most, cv2) + (1.0 - found) * _pairs(
        traffic.isl.mean, 0.0, cv2
    )
    decode = np.where(nodes > 0, step.step_s(nodes, context), 0.0)
    mixed: Array = np.asarray(
        step.step_s(nodes, context, tokens, share * pairs, np.minimum(share, room))
    )
    chunks = np.maximum(np.ceil(prompt / room), 1.0)
    one = np.minimum(prompt, room)
    chunk: Array = np.asarray(
        step.step_s(nodes, context, one, one / prompt * pairs, np.minimum(one / prompt, 1.0))
    )
    rows = mixed.shape
    prefill = np.maximum(mixed - decode, 0.0) / share
    return Profile(
        nodes=np.broadcast_to(nodes, rows),
        max_batch=np.broadcast_to(limit[:, 0], rows[:1]),
        decode_s=decode,
        chunk_s=chunk,
        chunks=np.broadcast_to(chunks, rows),
        prefill_s=prefill,
        lag_s=(np.asarray(step.stages) - 1.0) * prefill / chunks,
        prompts=np.broadcast_to(room / prompt, rows),
        frontend_s=np.broadcast_to(
            np.asarray(step.frontend_s(traffic.isl.mean)).reshape(-1), rows[:1]
        ),
        ahead=np.broadcast_to(np.asarray(step.ahead, dtype=np.float64), rows),
        decode_steps=decode_steps,
        cv2_prefill=cv2 if prefixes is None else _cv2_found(found, most, cv2),
        cv2_decode=_cv2(traffic.osl.mean, traffic.osl.second_moment),
        hit=np.broadcast_to(hit, rows),
    )


def _pairs(isl: float, hit: float, cv2: float) -> float:
    """Query-key pairs of a prompt of which a share is cached. [pairs]"""
    prompt = isl * (1.0 - hit)
    return prompt * isl * hit + prompt**2 * (1.0 + cv2) / 2.0


def _cv2_found(found: Values, hit: float, cv2: float) -> Values:
    """Squared variation of prefill work where a share of prompts finds its prefix. [1]"""
    left = 1.0 - hit
    mean = 1.0 - found * hit
    return np.maximum((1.0 + cv2) * (found * left**2 + 1.0 - found) / mean**2 - 1.0, 0.0)


def _cv2(mean: float, second_moment: float) -> float:
    """Squared coefficient of variation. [1]"""
    return max(second_moment / mean**2 - 1.0, 0.0)
