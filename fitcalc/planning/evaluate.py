"""How much each candidate carries within the promise, and how many replicas that takes.

A branch and bound: a cheap bound of every candidate's load orders them by least cost; the exact
closed form, over the token budgets, is asked only while a candidate's bound could still win.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fitcalc.answers import Limit, Rejection
from fitcalc.inputs.slo import Slo
from fitcalc.planning.candidates import Block
from fitcalc.planning.missed import in_ms
from fitcalc.planning.search import Entry, Found, Search, stack_of
from fitcalc.queueing.goodput import goodput, most_clients
from fitcalc.queueing.latency import first_token
from fitcalc.queueing.profile import NODES, Profile, profile
from fitcalc.units import MILLI, Array

_AT_FIRST = 2
"""Candidates of each kind that the first round evaluates exactly; each later one twice as many."""
_SURE = 0.999
"""Share of the places that are counted on: at the edge of full, one request decides. [1]"""
_LOOSE, _LOOSE_LOOP = 1.1, 2.0
"""How far bounds of the load lie above what a few batch sizes and mean waits say: of an open loop
and of a closed one, where most may come sooner than the mean. [1]"""
_COARSE: Array = NODES[[0, 1, 4, 8, 10, 12, 14, 16, 18, 20]]


def entries(search: Search) -> list[Entry]:
    """Bound every candidate's load from above, at the widest limits."""
    if not search.blocks:
        return []
    held = [search.held(block, block.kv_bytes[:, 0, 0]) for block in search.blocks]
    count = sum(len(block.gpus) for block in search.blocks)
    server = profile(
        stack_of(search.blocks, search.efficiency),
        search.traffic,
        np.clip(
            np.concatenate(held), 1.0, _seats(search.blocks[0], np.array(search.tried.slots))[-1]
        ),
        np.full(count, max(search.tried.tokens[-1], search.tried.slots[-1])),
        prefix_caching=search.prefix_caching,
        nodes=_COARSE,
    )
    least, _, _ = first_token(server, np.zeros((count, 1)), 1.0)
    loads = _most(server, search)
    places = [(block, row) for block in search.blocks for row in range(len(block.gpus))]
    return [
        Entry(
            index=i,
            block=block,
            row=row,
            load=float(loads[i]),
            refused=_never(
                float(least[i, 0]),
                float(server.decode_s[i, 1]) if server.decodes else 0.0,
                server.decode_steps,
                search.slo,
            ),
        )
        for i, (block, row) in enumerate(places)
    ]


def _most(server: Profile, search: Search) -> Array:
    """Bound the load: the fastest batch whose steps alone stay under the ITL limit. (row,)."""
    slow = server.decode_s > search.slo.itl_ms * MILLI
    # A node is out only if the one before is already too slow: between them the limit may lie.
    out = np.concatenate([np.zeros_like(slow[:, :1]), slow[:, :-1]], axis=1)
    rate = np.where(out, 0.0, server.completion_rate)
    if not search.closed:
        alone = np.where(server.decode_steps < 1.0, 1.0 / np.maximum(server.chunk_s, 1e-9), 0.0)
        fastest: Array = np.maximum(rate, alone).max(axis=1)
        return fastest * _LOOSE
    inside: Array = np.where(out, 0.0, server.nodes) + rate * search.slo.ttft_ms * MILLI
    most: Array = inside.max(axis=1)
    return most * _LOOSE_LOOP


def _never(ttft_s: float, itl_s: float, steps: float, slo: Slo) -> Rejection | None:
    """Say which limit an idle server already misses."""
    floors = (
        (Limit.TTFT, ttft_s / MILLI, slo.ttft_ms, "first token"),
        (Limit.ITL, itl_s / MILLI, slo.itl_ms, "gap between tokens"),
        (Limit.E2E, (ttft_s + steps * itl_s) / MILLI, slo.e2e_ms or math.inf, "whole request"),
    )
    for limit, floor, promised, words in floors:
        if floor > promised:
            reason = f"a {words} takes {in_ms(floor)} on an idle server; promised {in_ms(promised)}"
            return Rejection(limit=limit, needed=floor, available=promised, reason=reason)
    return None


Rank = tuple[float, ...]


def best_of_each(
    search: Search,
    able: Iterable[Entry],
    kind: Callable[[Entry], str],
    order: Callable[[Entry, float], Rank],
) -> list[Found]:
    """Return the best candidate of each kind.

    Args:
        search: The question.
        able: Candidates that may keep the promise.
        kind: The kind of a candidate, such as its GPU type.
        order: Ranks a candidate at the load of a replica, the lowest first; more load never ranks
            it lower, so that a bound of the load bounds the rank.
    """
    queues: dict[str, list[tuple[Rank, int, Entry]]] = {}
    for entry in able:
        queues.setdefault(kind(entry), []).append((order(entry, entry.load), entry.index, entry))
    for queue in queues.values():
        queue.sort(key=lambda one: one[:2], reverse=True)
    best: dict[str, tuple[Rank, Found]] = {}
    at_once = _AT_FIRST
    while queues:
        asked: list[Entry] = []
        for name, queue in list(queues.items()):
            asked += _next(queue, at_once, best[name][0] if name in best else None)
            if not queue:
                queues.pop(name)
        for found in carried(search, asked):
            rank = order(found.entry, found.load)
            name = kind(found.entry)
            if name not in best or rank < best[name][0]:
                best[name] = rank, found
        at_once *= 2
    return [found for _, found in best.values()]


def _next(queue: list[tuple[Rank, int, Entry]], count: int, least: Rank | None) -> list[Entry]:
    """Take the next candidates off a queue, and empty it where none could win any more."""
    taken: list[Entry] = []
    while queue and len(taken) < count:
        if least is not None and queue[-1][0] >= least:
            queue.clear()
            break
        taken.append(queue.pop()[2])
    return taken


def carried(search: Search, asked: Sequence[Entry]) -> list[Found]:
    """Return the load each candidate carries within the promise, at its best token budget.

    None is said to carry more than its bound: who was passed over can then not have won.
    """
    if not asked:
        return []
    seated = [_seated(search, entry) for entry in asked]
    batch, slots, kv_bytes = (np.concatenate(column) for column in zip(*seated, strict=True))
    batch = batch * _SURE
    budgets = np.array(search.tried.tokens)
    tokens = np.maximum(np.tile(budgets, len(asked)), slots)
    server = search.server([e for e in asked for _ in budgets], batch, tokens, kv_bytes)
    bound = np.repeat([e.load for e in asked], len(budgets))
    if search.closed:
        load = most_clients(server, search.slo, bound)
    else:
        load = goodput(server, search.slo, search.traffic.burstiness)
    load = np.where(batch >= _SURE, np.minimum(load, bound), 0.0)
    table = load.reshape(len(asked), len(budgets))
    chosen = table.argmax(axis=1) + np.arange(len(asked)) * len(budgets)
    return [
        Found(
            entry,
            int(slots[i]),
            int(tokens[i]),
            float(batch[i]),
            float(kv_bytes[i]),
            float(load[i]),
        )
        for entry, i in zip(asked, chosen, strict=True)
    ]


def _seated(search: Search, entry: Entry) -> tuple[Array, Array, Array]:
    """Sequences held at each token budget, the fewest slots that hold them, and KV bytes. (budget,)

    Slots cost memory of their own; with the most of them the KV cache may still hold more.
    """
    room = entry.block.kv_bytes[entry.row]
    held = search.held(entry.block, room)
    tried = np.array(entry.block.tried.slots)
    enough = held <= tried
    seat = np.where(enough.any(axis=1), enough.argmax(axis=1), len(tried) - 1)
    budgets = np.arange(len(held))
    batch = np.minimum(held[budgets, seat], _seats(entry.block, tried[seat]))
    return batch, tried[seat], room[budgets, seat]


def _seats(block: Block, slots: Array) -> Array:
    """Sequences that may run at once with so many slots. [1]"""
    return np.minimum(slots, block.engine.max_num_active_seqs or np.inf)
