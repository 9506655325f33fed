"""How much each candidate carries within the promise, and how many replicas that takes.

A branch and bound: a cheap bound of every candidate's load orders them by least cost; the exact
closed form, over the token budgets, is asked only while a candidate's bound could still win.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Limit, Rejection
from fitcalc.catalog.model import LlmModel
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.step import gather
from fitcalc.planning.candidates import SLOTS, TOKEN_BUDGETS, Block, Rows, kv_bytes
from fitcalc.queueing.goodput import goodput, most_clients
from fitcalc.queueing.latency import first_token
from fitcalc.queueing.profile import NODES, Profile, profile
from fitcalc.units import MILLI, Array

_AT_A_TIME = 2
"""Candidates of each GPU type that one round of the search evaluates exactly."""
_COARSE: Array = NODES[[0, 1, 4, 8, 10, 12, 14, 16, 18, 20]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate: a row of a block, and what bounds it.

    Attributes:
        block: Index of its block.
        row: Its row there.
        gpu: Table id.
        gpus: GPUs of one replica. [1]
        weight: Id of its weight format.
        load: No replica carries more: requests a second, or clients.
        refused: Why it cannot keep the promise at any load; ``None`` = it might.
    """

    block: int
    row: int
    gpu: str
    gpus: int
    weight: str
    load: float
    refused: Rejection | None


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate with its batch limits, and the load a replica carries within the promise."""

    entry: Entry
    max_num_seqs: int
    max_num_batched_tokens: int
    load: float


@dataclass(frozen=True, slots=True)
class Search:
    """What every candidate of one question shares."""

    model: LlmModel
    blocks: Sequence[Block]
    traffic: Traffic
    slo: Slo
    prefix_caching: bool

    @property
    def closed(self) -> bool:
        """Whether the load is clients in a loop."""
        return self.traffic.concurrency is not None

    @property
    def load(self) -> float:
        """The whole load: requests a second or clients."""
        return float(self.traffic.concurrency or self.traffic.qps or 0.0)


def entries(search: Search) -> Iterator[Entry]:
    """Bound every candidate's load from above, at the widest limits."""
    for index, block in enumerate(search.blocks):
        rows = np.arange(len(block.gpus))
        room = kv_bytes(search.model, block, rows, SLOTS[0], TOKEN_BUDGETS[0])
        held = np.clip(room / max(block.request_bytes, 1.0), 1.0, SLOTS[-1])
        server = profile(
            block.step,
            search.traffic,
            held,
            np.full(len(rows), TOKEN_BUDGETS[-1]),
            prefix_caching=search.prefix_caching,
            nodes=_COARSE,
        )
        least, _, _ = first_token(server, np.zeros((len(rows), 1)), 1.0)
        loads = _most(server, search)
        for row, gpu in enumerate(block.gpus):
            floor = (least[row, 0], server.decode_s[row, 1])
            yield Entry(
                block=index,
                row=row,
                gpu=gpu.id,
                gpus=block.split.tp * block.split.pp,
                weight=block.weight.id,
                load=float(loads[row]),
                refused=_never(*floor, server.decode_steps, search.slo),
            )


def _most(server: Profile, search: Search) -> Array:
    """Bound the load: the fastest batch whose steps alone stay under the ITL limit. (row,)."""
    slow = server.decode_s > search.slo.itl_ms * MILLI
    # A node is out only if the one before is already too slow: between them the limit may lie.
    out = np.concatenate([np.zeros_like(slow[:, :1]), slow[:, :-1]], axis=1)
    rate = np.where(out, 0.0, server.completion_rate)
    if not search.closed:
        alone = np.where(server.decode_steps < 1.0, 1.0 / np.maximum(server.chunk_s, 1e-9), 0.0)
        fastest: Array = np.maximum(rate, alone).max(axis=1)
        return fastest
    inside: Array = np.where(out, 0.0, server.nodes) + rate * search.slo.ttft_ms * MILLI
    most: Array = inside.max(axis=1)
    return most


def _never(ttft_s: float, itl_s: float, steps: float, slo: Slo) -> Rejection | None:
    """Say which limit an idle server already misses."""
    floors = (
        (Limit.TTFT, ttft_s / MILLI, slo.ttft_ms, "first token"),
        (Limit.ITL, itl_s / MILLI, slo.itl_ms, "gap between tokens"),
        (Limit.E2E, (ttft_s + steps * itl_s) / MILLI, slo.e2e_ms or math.inf, "whole request"),
    )
    for limit, floor, promised, words in floors:
        if floor > promised:
            reason = (
                f"a {words} takes {floor:,.0f} ms on an idle server; promised {promised:,.0f} ms"
            )
            return Rejection(limit=limit, needed=floor, available=promised, reason=reason)
    return None


def best_of_each(
    search: Search, able: Sequence[Entry], price: Mapping[str, float], headroom: float
) -> list[Found]:
    """Return, for each GPU type and weight format, the candidate that costs least.

    Args:
        search: The question.
        able: Candidates that may keep the promise.
        price: What orders a GPU type's candidates: money of one GPU. [USD/h]
        headroom: Share of the load that is left free. [1]
    """

    def least(entry: Entry, load: float) -> float:
        if load <= 0:
            return math.inf
        replicas = math.ceil(search.load / (load * (1.0 - headroom)) - 1e-9)
        return replicas * entry.gpus * price[entry.gpu]

    queues: dict[tuple[str, str], list[Entry]] = {}
    for entry in able:
        queues.setdefault((entry.gpu, entry.weight), []).append(entry)
    for queue in queues.values():
        queue.sort(key=lambda e: (least(e, e.load), e.gpus), reverse=True)
    best: dict[tuple[str, str], Found] = {}
    cost: dict[tuple[str, str], float] = {}
    while queues:
        asked = []
        for key, queue in list(queues.items()):
            for _ in range(_AT_A_TIME):
                if not queue or least(queue[-1], queue[-1].load) >= cost.get(key, math.inf):
                    queues.pop(key)
                    break
                asked.append(queue.pop())
        for found in carried(search, asked):
            key = (found.entry.gpu, found.entry.weight)
            money = least(found.entry, found.load)
            if money < cost.get(key, math.inf):
                best[key], cost[key] = found, money
    return list(best.values())


def carried(search: Search, asked: Sequence[Entry]) -> list[Found]:
    """Return the load each candidate carries within the promise, at its best token budget."""
    if not asked:
        return []
    order = sorted(asked, key=lambda e: e.block)
    grouped: dict[int, list[Entry]] = {}
    for entry in order:
        grouped.setdefault(entry.block, []).append(entry)
    parts, batches, seats = [], [], []
    for index, members in grouped.items():
        block = search.blocks[index]
        rows = np.repeat(np.array([e.row for e in members], dtype=np.intp), len(TOKEN_BUDGETS))
        tokens = np.tile(TOKEN_BUDGETS, len(members))
        batch, slots = _seated(search.model, block, rows, tokens)
        parts.append((block.step, len(block.gpus), rows))
        batches.append(batch)
        seats.append(slots)
    tokens = np.tile(TOKEN_BUDGETS, len(order))
    batch, slots = np.concatenate(batches), np.concatenate(seats)
    server = profile(
        gather(parts),
        search.traffic,
        np.maximum(batch, 1.0),
        np.maximum(tokens, slots),
        prefix_caching=search.prefix_caching,
    )
    bound = np.repeat([e.load for e in order], len(TOKEN_BUDGETS))
    if search.closed:
        load = most_clients(server, search.slo, bound)
    else:
        load = goodput(server, search.slo, search.traffic.burstiness)
    load = np.where(batch >= 1.0, load, 0.0)
    found = []
    for i, entry in enumerate(order):
        own = slice(i * len(TOKEN_BUDGETS), (i + 1) * len(TOKEN_BUDGETS))
        at = own.start + int(np.argmax(load[own]))
        found.append(Found(entry, int(slots[at]), int(max(tokens[at], slots[at])), float(load[at])))
    return found


def _seated(model: LlmModel, block: Block, rows: Rows, tokens: Array) -> tuple[Array, Array]:
    """Sequences held, and the fewest slots that hold them: slots cost memory of their own. [1]"""
    batch, slots = np.zeros(len(rows)), np.full(len(rows), SLOTS[-1])
    for seats in reversed(SLOTS):
        held = kv_bytes(model, block, rows, seats, np.maximum(tokens, seats))
        held = held / max(block.request_bytes, 1.0)
        enough = (held <= seats) | (seats >= slots)
        better = enough & (np.minimum(held, seats) >= batch)
        batch = np.where(better, np.minimum(held, seats), batch)
        slots = np.where(better, seats, slots)
    return batch, slots


def server_of(search: Search, found: Found) -> Profile:
    """Return the profile of one candidate at its batch limits."""
    block = search.blocks[found.entry.block]
    row = np.array([found.entry.row], dtype=np.intp)
    room = kv_bytes(
        search.model, block, row, float(found.max_num_seqs), float(found.max_num_batched_tokens)
    )
    batch = np.minimum(room / max(block.request_bytes, 1.0), found.max_num_seqs)
    return profile(
        gather([(block.step, len(block.gpus), row)]),
        search.traffic,
        np.maximum(batch, 1.0),
        np.array([float(found.max_num_batched_tokens)]),
        prefix_caching=search.prefix_caching,
    )
