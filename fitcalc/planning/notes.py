"""What a buyer must know about a choice, beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from fitcalc.answers import Calibrated, MemoryLedger, Terms
from fitcalc.physics.build import calibrated
from fitcalc.planning.priced import Priced
from fitcalc.planning.setup import Setup

_FEW_BITS = 8.0
_EAGER = "what --enforce-eager costs a step is an estimate: hosts differ"


def notes(one: Priced, setup: Setup, ledger: MemoryLedger) -> tuple[str, ...]:
    """Say how far the numbers reach, what the formats cost, and what the bill hides."""
    tight = "memory is tight: within the spread of start-up logs it might not start"
    return (
        *_trust(setup),
        *_formats(setup),
        *((tight,) if ledger.fits == "tight" else ()),
        *_money(one, setup.gpu.id),
    )


def _trust(setup: Setup) -> Iterator[str]:
    kind, gpu = calibrated(setup.gpu, setup.weight), setup.gpu
    if setup.engine.enforce_eager:
        yield _EAGER
    if kind is Calibrated.TRANSFERRED:
        source = gpu.efficiency_from or "another number format"
        yield f"step times are transferred from {source}; nobody measured {gpu.id} so"
    if kind is Calibrated.DATASHEET:
        yield f"step times come from {gpu.id}'s datasheet alone"
    if gpu.estimates:
        yield f"estimated figures of {gpu.id}: {', '.join(gpu.estimates)}"


def _formats(setup: Setup) -> Iterator[str]:
    weight = setup.weight
    if weight.bits < _FEW_BITS and not setup.own_checkpoint:
        yield (
            f"the command names a placeholder: {weight.id} needs a quantized checkpoint; put the "
            "name of one there, and test its answers: 4-bit weights can cost quality"
        )
    elif weight.bits <= _FEW_BITS and not setup.own_checkpoint:
        yield f"weights are quantized to {weight.id}; test its answers on your task"
    if setup.kv.bytes_per_element < 2:
        yield f"the KV cache is stored in {setup.kv.id}; test long contexts"


def _money(one: Priced, gpu: str) -> Iterator[str]:
    if one.bill is None:
        yield f"no price of {gpu} is in the tables"
        return
    idle = one.bill.gpus - one.gpu_count
    if idle > 0:
        yield f"instances are bought whole: {idle} of {one.bill.gpus} GPUs stay idle"
    if one.bill.offer.terms is Terms.SPOT:
        yield "spot instances can be taken away at short notice: plan spare servers"
