"""Slices of a GPU under MIG: ``hardware_db/mig.toml``, asked for as ``h100:3g.40gb``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import cast

from fitcalc.catalog.gpu import Gpu, load_gpu, resolve_gpu
from fitcalc.catalog.tables import Figure, Toml, figure, read_toml
from fitcalc.errors import InvalidValue

_FIGURES = ("memory", "sm_share", "bandwidth_share")


def load_device(name: str) -> Gpu:
    """Load a GPU, or a slice of one: ``h100``, ``h100:3g.40gb``.

    Raises:
        UnknownName: no GPU has that name.
        InvalidValue: the GPU has no such slice.

    Examples:
        >>> load_device("h100:3g.40gb").memory_bytes / 2**30
        39.5
    """
    card, found, profile = name.partition(":")
    gpu = load_gpu(card)
    return mig_slice(gpu, profile) if found else gpu


def mig_slice(gpu: Gpu, profile: str) -> Gpu:
    """Return one MIG instance of a GPU, as a GPU of its own that is linked to no other.

    Peaks shrink with the slice's SMs and the bandwidth with its memory. Nobody measured kernels
    on a slice, so it borrows the efficiencies of the whole card.

    Raises:
        InvalidValue: the GPU has no such profile, or no MIG at all.
    """
    wanted = profile.strip().lower().removeprefix("mig").lstrip(" -_")
    rows = profiles(gpu.id)
    if wanted not in rows:
        fix = f"{gpu.id} has {', '.join(rows)}" if rows else f"no MIG slices of {gpu.id} are known"
        raise InvalidValue("mig", profile, fix)
    row = rows[wanted]
    sources = cast("Mapping[str, Toml]", _table()["sources"])
    memory, sms, bandwidth = (row[key].base for key in _FIGURES)
    guessed = tuple(key for key in _FIGURES if sources[row[key].source]["kind"] == "estimate")
    return replace(
        gpu,
        id=f"{gpu.id}:{wanted}",
        name=f"{gpu.name} MIG {wanted}",
        memory_bytes=memory,
        cuda_memory_bytes=memory,
        memory_bandwidth=gpu.memory_bandwidth * bandwidth,
        peak_flops={name: peak * sms for name, peak in gpu.peak_flops.items()},
        link=replace(gpu.link, domain=1),
        gpus_per_node=1,
        power_w=None,
        efficiency_from=gpu.efficiency_from or gpu.id,
        estimates=(*gpu.estimates, *(f"mig {key}" for key in guessed)),
    )


def profiles(gpu: str) -> Mapping[str, Mapping[str, Figure]]:
    """Return the slices of a GPU by their profile's name; none where MIG is not known.

    Examples:
        >>> tuple(profiles("h100"))
        ('1g.10gb', '1g.20gb', '2g.20gb', '3g.40gb', '4g.40gb', '7g.80gb')
    """
    gpu_id = resolve_gpu(gpu)
    same = cast("Mapping[str, str]", _table()["same_as"])
    tables = cast("Mapping[str, Mapping[str, Toml]]", _table()["profiles"])
    rows = tables.get(same.get(gpu_id, gpu_id), {})
    sources = cast("Toml", _table()["sources"])
    return {
        name: {key: figure(row.get(key), f"mig.toml {gpu_id} {name} {key}", sources)
               for key in _FIGURES}
        for name, row in rows.items()
    }  # fmt: skip


@cache
def _table() -> Toml:
    return read_toml("hardware_db", "mig.toml")
