"""Finalists: full predictions, ledgers and command lines of the candidates that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.answers import MemoryLedger, Prediction, Rejection
from fitcalc.catalog.gpu import load_gpu
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.stacked import take
from fitcalc.planning.bottleneck import time_shares
from fitcalc.planning.choice import Choice
from fitcalc.planning.cost import bill_per_million
from fitcalc.planning.judged import Quality
from fitcalc.planning.notes import ONLINE, notes
from fitcalc.planning.priced import Priced
from fitcalc.planning.quality import quality_of
from fitcalc.planning.search import Found, Search, stack_of
from fitcalc.planning.server import fitting, ledger_of, prediction
from fitcalc.planning.setup import Setup, set_up
from fitcalc.planning.vllm_command import vllm_command
from fitcalc.queueing.predict import Felt, felt_at

_FEW_BITS = 8.0


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate written out, and what it was made of.

    Attributes:
        priced: The candidate with its replicas and its bill.
        setup: One server's configuration.
        ledger: One card's memory.
        share: What reaches one server.
        choice: What the plan says of it.
    """

    priced: Priced
    setup: Setup
    ledger: MemoryLedger
    share: Traffic
    choice: Choice


def finalists(search: Search, kept: Sequence[Priced]) -> list[Finalist]:
    """Predict and write out every kept candidate, in the order given."""
    started: list[tuple[Priced, Setup, MemoryLedger]] = []
    for one in kept:
        setup = _setup(search, one.found)
        ledger = setup if isinstance(setup, Rejection) else ledger_of(setup)
        if isinstance(setup, Setup) and isinstance(ledger, MemoryLedger):
            started.append((one, setup, ledger))
    if not started:
        return []
    shares = [search.share(one.replicas) for one, _, _ in started]
    felts = _felt(search, started, shares)
    index = np.array([one.found.entry.index for one, _, _ in started], dtype=np.intp)
    step = take(stack_of(search.blocks, search.efficiency), index)
    times = time_shares(
        step,
        [felt.steady_batch for felt in felts],
        search.traffic,
        [felt.prefix_hit for felt in felts],
    )
    formats = {_formats(setup): (setup.weight, setup.kv) for _, setup, _ in started}
    judged = {ids: quality_of(search.model, *pair) for ids, pair in formats.items()}
    return [
        Finalist(
            one,
            setup,
            ledger,
            share,
            _choice(
                one,
                setup,
                ledger,
                prediction(setup, ledger, felt, share, busy),
                search,
                judged=judged[_formats(setup)],
            ),
        )
        for (one, setup, ledger), felt, share, busy in zip(
            started, felts, shares, times, strict=True
        )
    ]


def _formats(setup: Setup) -> tuple[str, str]:
    return setup.weight.id, setup.kv.id


def _setup(search: Search, found: Found) -> Setup | Rejection:
    block = found.entry.block
    asked = block.asked.replace(
        max_num_seqs=found.max_num_seqs, max_num_batched_tokens=found.max_num_batched_tokens
    )
    return set_up(search.model, load_gpu(found.entry.gpu), asked)


def _felt(
    search: Search, started: Sequence[tuple[Priced, Setup, MemoryLedger]], shares: list[Traffic]
) -> list[Felt]:
    """Predict all finalists in one sweep, each at its own load."""
    batch = [
        min(setup.engine.seats, fitting(setup, ledger, share))
        for (_, setup, ledger), share in zip(started, shares, strict=True)
    ]
    server = search.server(
        [one.found.entry for one, _, _ in started],
        np.array(batch, dtype=np.float64),
        np.array([float(setup.engine.max_num_batched_tokens) for _, setup, _ in started]),
        np.array([ledger.kv_cache_bytes for _, _, ledger in started]),
    )
    load = np.array([share.load for share in shares])
    return felt_at(server, load, search.traffic, closed=search.closed)


def _choice(
    one: Priced,
    setup: Setup,
    ledger: MemoryLedger,
    said: Prediction,
    search: Search,
    *,
    judged: Quality,
) -> Choice:
    carrying = one.replicas - search.spare
    carried = carrying * search.mean_share
    output, both = said.output_tokens_per_s * carried, said.total_tokens_per_s * carried
    full = min(search.share(one.replicas).load / one.found.load, 1.0)
    used = one.used_share * carrying / one.replicas
    return Choice(
        gpu=setup.gpu.id,
        gpu_count=one.gpu_count,
        replicas=one.replicas,
        engine=setup.engine,
        prediction=said,
        memory=ledger,
        usd_per_hour=one.bill.usd_per_hour if one.bill else None,
        usd_per_million_input_tokens=bill_per_million(one.bill, both - output),
        usd_per_million_output_tokens=bill_per_million(one.bill, output),
        usd_per_million_tokens=bill_per_million(one.bill, both),
        price_source=one.bill.source if one.bill else "",
        gpus_bought=one.bill.gpus if one.bill else None,
        idle_share=1.0 - used * full * search.mean_share,
        vllm_command=_command(setup, judged.checkpoints),
        headroom=1.0 - full,
        quality=judged,
        notes=notes(one, setup, ledger, judged),
    )


def _command(setup: Setup, published: Sequence[str]) -> str:
    """Return the line that starts a server: the checkpoint, or the one a reader must name."""
    half = setup.weight.bits > _FEW_BITS
    online = setup.weight.id in ONLINE and not setup.own_checkpoint
    name = setup.model.hf_id or setup.model.id
    if not (half or setup.own_checkpoint or online):
        name = published[0] if published else f"{name}-{setup.weight.id}"
    return vllm_command(
        name,
        setup.engine,
        quantization=setup.weight.vllm_quantization if online else None,
        kv_cache_dtype=setup.kv.vllm_kv_cache_dtype if setup.kv.bytes_per_element < 2 else "auto",
    )
