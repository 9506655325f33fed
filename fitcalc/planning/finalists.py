"""Finalists: full predictions, ledgers and command lines of the candidates that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcalc.answers import Calibrated, MemoryLedger, Prediction, Rejection
from fitcalc.catalog.gpu import load_gpu
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated
from fitcalc.physics.stacked import take
from fitcalc.planning.bottleneck import time_shares
from fitcalc.planning.choice import Choice
from fitcalc.planning.cost import usd_per_million
from fitcalc.planning.evaluate import Found, Search, stack_of
from fitcalc.planning.priced import Priced
from fitcalc.planning.server import ledger_of, prediction, request_bytes
from fitcalc.planning.setup import Setup, set_up
from fitcalc.planning.vllm_command import vllm_command
from fitcalc.queueing.predict import Felt, felt_at

_FEW_BITS = 8.0
_ONLINE = ("fp8",)
_EAGER = "what --enforce-eager costs a step is an estimate: hosts differ"
"""Formats that vLLM makes of a 16-bit checkpoint while loading (--quantization)."""


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
    shares = [search.traffic.share(one.replicas) for one, _, _ in started]
    felts = _felt(search, started, shares)
    index = np.array([one.found.entry.index for one, _, _ in started], dtype=np.intp)
    step = take(stack_of(search.blocks), index)
    times = time_shares(step, [felt.steady_batch for felt in felts], search.traffic)
    return [
        Finalist(
            one,
            setup,
            ledger,
            share,
            _choice(one, setup, ledger, prediction(setup, ledger, felt, share, busy), share),
        )
        for (one, setup, ledger), felt, share, busy in zip(
            started, felts, shares, times, strict=True
        )
    ]


def _setup(search: Search, found: Found) -> Setup | Rejection:
    block = found.entry.block
    asked = EngineArgs(
        tensor_parallel_size=block.split.tp,
        pipeline_parallel_size=block.split.pp,
        quantization=block.weight.id,
        kv_cache_dtype=block.kv.id,
        max_model_len=block.engine.max_model_len,
        max_num_seqs=found.max_num_seqs,
        max_num_batched_tokens=found.max_num_batched_tokens,
        gpu_memory_utilization=block.engine.gpu_memory_utilization,
        kv_cache_memory_bytes=block.engine.kv_cache_memory_bytes,
        enable_prefix_caching=block.engine.enable_prefix_caching,
        async_scheduling=block.engine.async_scheduling,
        enforce_eager=block.engine.enforce_eager,
        version=block.engine.version,
    )
    return set_up(search.model, load_gpu(found.entry.gpu), asked)


def _felt(
    search: Search, started: Sequence[tuple[Priced, Setup, MemoryLedger]], shares: list[Traffic]
) -> list[Felt]:
    """Predict all finalists in one sweep, each at its own load."""
    batch = [
        min(setup.engine.max_num_seqs, ledger.kv_cache_bytes / request_bytes(setup, share.held))
        for (_, setup, ledger), share in zip(started, shares, strict=True)
    ]
    server = search.server(
        np.array([one.found.entry.index for one, _, _ in started], dtype=np.intp),
        np.array(batch, dtype=np.float64),
        np.array([float(setup.engine.max_num_batched_tokens) for _, setup, _ in started]),
    )
    load = np.array([share.load for share in shares])
    return felt_at(server, load, search.traffic, closed=search.closed)


def _choice(
    one: Priced, setup: Setup, ledger: MemoryLedger, said: Prediction, share: Traffic
) -> Choice:
    money = one.bill.usd_per_hour if one.bill else None
    output = said.output_tokens_per_s * one.replicas
    both = said.total_tokens_per_s * one.replicas
    load = share.load
    return Choice(
        gpu=setup.gpu.id,
        gpu_count=one.gpu_count,
        replicas=one.replicas,
        engine=setup.engine,
        prediction=said,
        memory=ledger,
        usd_per_hour=money,
        usd_per_million_output_tokens=None if money is None else usd_per_million(money, output),
        usd_per_million_tokens=None if money is None else usd_per_million(money, both),
        price_source=one.bill.source if one.bill else "",
        vllm_command=_command(setup),
        headroom=max(0.0, 1.0 - load / one.found.load),
        notes=tuple(_notes(one, setup, ledger)),
    )


def _command(setup: Setup) -> str:
    """Return the line that starts a server: the checkpoint, or the one a reader must name."""
    half = setup.weight.bits > _FEW_BITS
    online = setup.weight.id in _ONLINE and not setup.own_checkpoint
    name = setup.model.hf_id or setup.model.id
    if not (half or setup.own_checkpoint or online):
        name = f"{name}-{setup.weight.id}"
    return vllm_command(
        name,
        setup.engine,
        quantization=setup.weight.vllm_quantization if online else None,
        kv_cache_dtype=setup.kv.vllm_kv_cache_dtype if setup.kv.bytes_per_element < 2 else "auto",
    )


def _notes(one: Priced, setup: Setup, ledger: MemoryLedger) -> list[str]:
    """Say what a buyer must know."""
    notes = [_EAGER] if setup.engine.enforce_eager else []
    kind, gpu, weight = calibrated(setup.gpu, setup.weight), setup.gpu, setup.weight
    if kind is Calibrated.TRANSFERRED:
        source = gpu.efficiency_from or "another number format"
        notes.append(f"step times are transferred from {source}; nobody measured {gpu.id} so")
    if kind is Calibrated.DATASHEET:
        notes.append(f"step times come from {gpu.id}'s datasheet alone")
    if gpu.estimates:
        notes.append(f"estimated figures of {gpu.id}: {', '.join(gpu.estimates)}")
    if weight.bits < _FEW_BITS and not setup.own_checkpoint:
        notes.append(
            f"{weight.id} needs a quantized checkpoint; put its name in the command, and test its "
            "answers: 4-bit weights can cost quality"
        )
    elif weight.bits <= _FEW_BITS and not setup.own_checkpoint:
        notes.append(f"weights are quantized to {weight.id}; test its answers on your task")
    if setup.kv.bytes_per_element < 2:
        notes.append(f"the KV cache is stored in {setup.kv.id}; test long contexts")
    if ledger.fits == "tight":
        notes.append("memory is tight: within the spread of start-up logs it might not start")
    if one.bill is None:
        notes.append(f"no price of {gpu.id} is in the tables")
    elif one.bill.gpus > one.gpu_count:
        idle = one.bill.gpus - one.gpu_count
        notes.append(f"instances are bought whole: {idle} of {one.bill.gpus} GPUs stay idle")
    return notes
