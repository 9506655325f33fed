"""What a buyer must know about a choice, beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fitcalc.answers import Calibrated, MemoryLedger, Terms
from fitcalc.physics.build import calibrated
from fitcalc.planning.judged import Judged, Quality
from fitcalc.planning.priced import Priced
from fitcalc.planning.setup import Setup

_FEW_BITS = 8.0
_PERCENT = 100.0
ONLINE = ("fp8",)
"""Formats that vLLM makes of a 16-bit checkpoint while loading (--quantization)."""
_EAGER = "what --enforce-eager costs a step is an estimate: hosts differ"


def notes(one: Priced, setup: Setup, ledger: MemoryLedger, judged: Quality) -> tuple[str, ...]:
    """Say how far the numbers reach, what the formats cost, and what the bill hides."""
    tight = "memory is tight: within the spread of start-up logs it might not start"
    return (
        *_trust(setup),
        *_formats(setup, judged),
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


def _formats(setup: Setup, judged: Quality) -> Iterator[str]:
    """Say what a format below 16 bits costs, for weights and KV cache apart, and who ships it."""
    weight, kv = setup.weight, setup.kv
    if weight.bits <= _FEW_BITS and not setup.own_checkpoint:
        yield f"weights in {weight.id} {_kept(judged.weights)}; test its answers on your task"
        yield _shipped(weight.id, judged.checkpoints)
    if kv.bytes_per_element < 2:
        yield f"the KV cache in {kv.id} {_kept(judged.kv_cache)}; test long contexts"


def _kept(verdict: Judged) -> str:
    share = verdict.recovery
    if share is None:
        return "was judged by nobody on such a model"
    if not verdict.source:
        return "is what the checkpoint asks for"
    return (
        f"kept {_PERCENT * share:.4g} % of the score or more ({verdict.benchmark} on "
        f"{verdict.measured_on}; {verdict.source})"
    )


def _shipped(name: str, published: Sequence[str]) -> str:
    if published:
        return f"published checkpoint in {name}: {published[0]}"
    how = "vLLM makes it while loading" if name in ONLINE else "the command names a placeholder"
    return f"no published checkpoint known in {name}: {how}"


def _money(one: Priced, gpu: str) -> Iterator[str]:
    if one.bill is None:
        yield f"no price of {gpu} is in the tables"
        return
    idle = one.bill.gpus - one.gpu_count
    if idle > 0:
        yield f"instances are bought whole: {idle} of {one.bill.gpus} GPUs stay idle"
    if one.bill.offer.terms is Terms.SPOT:
        yield "spot instances can be taken away at short notice: plan spare servers"
