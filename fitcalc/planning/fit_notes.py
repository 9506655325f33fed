"""What a ledger does not show: what is counted where, and what offloading costs."""

from __future__ import annotations

from collections.abc import Iterator

from fitcalc.answers import MemoryLedger
from fitcalc.catalog.model import TensorKind
from fitcalc.physics.weights import HALF
from fitcalc.planning.setup import Setup
from fitcalc.units import GIB, MILLI

_PREFIX = 1000


def fit_notes(setup: Setup, ledger: MemoryLedger) -> tuple[str, ...]:
    """Return the notes of one configuration, each a sentence without its stop."""
    return (*_counted(setup, ledger), *_offloaded(setup, ledger), *_shared(setup, ledger))


def _counted(setup: Setup, ledger: MemoryLedger) -> Iterator[str]:
    tower = setup.model.parameters(TensorKind.VISION) * HALF
    if tower:
        yield (
            f"the weights hold the vision tower, {tower / GIB:.2f} GiB before it is split, and the "
            "activation peak the images of its profile run"
        )
    engine = setup.engine
    if engine.enable_lora:
        yield (
            f"the weights hold {ledger.lora_bytes / GIB:.2f} GiB of slots for {engine.max_loras} "
            f"LoRA adapters of rank {engine.max_lora_rank} on every layer, used or not"
        )
    if engine.enable_lora and setup.model.is_moe:
        yield "every expert has LoRA slots of its own"


def _offloaded(setup: Setup, ledger: MemoryLedger) -> Iterator[str]:
    engine, link = setup.engine, setup.gpu.pcie_bandwidth
    if engine.cpu_offload_gb:
        cost = engine.cpu_offload_gb * GIB / link / MILLI
        yield (
            f"cpu_offload_gb {engine.cpu_offload_gb:g} is read over PCIe in every step: at least "
            f"{cost:,.0f} ms a step at {link / GIB:,.0f} GiB/s"
        )
    if engine.kv_offloading_size:
        held = engine.kv_offloading_size * GIB / engine.tensor_parallel_size
        token = max(ledger.kv_bytes_per_token, 1.0)
        cost = _PREFIX * token / link / MILLI
        yield (
            f"kv_offloading_size {engine.kv_offloading_size:g} keeps {held / token:,.0f} more "
            f"tokens of prefixes in host memory; a hit there costs {cost:.2g} ms of PCIe for "
            f"{_PREFIX:,} tokens, and requests that run at once stay as many"
        )


def _shared(setup: Setup, ledger: MemoryLedger) -> Iterator[str]:
    if ledger.reserved_bytes:
        yield (
            f"{ledger.reserved_bytes / GIB:.2f} GiB of what is left belong to other processes; "
            "if they grow while vLLM profiles, its KV cache shrinks by as much"
        )
    guessed = [name for name in setup.gpu.estimates if name.startswith("mig")]
    if guessed:
        said = ", ".join(name.removeprefix("mig ") for name in guessed)
        yield f"{setup.gpu.id}: {said} of the slice is an estimate"
