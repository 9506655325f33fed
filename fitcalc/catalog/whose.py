"""Whose results a law of a GPU takes: the user's own, the GPU's, a relative's, the pooled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from fitcalc.answers import Calibrated
from fitcalc.catalog.fitted import (
    DEFAULT,
    Coefficients,
    Laws,
    fitted_ids,
    read_fitted,
    read_own_fitted,
)
from fitcalc.catalog.gpu import Gpu, load_gpu
from fitcalc.errors import TableError

NVLINK = "nvlink"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of results, and what using it makes of the answer; the user's own before it."""

    name: str
    laws: Laws
    calibrated: Calibrated
    own: Laws = field(default_factory=dict)
    own_calibrated: Calibrated = Calibrated.OWN

    def row(self, law: str, key: str) -> tuple[Coefficients, Calibrated, str] | None:
        """Return a law's row with what it makes of the answer and whose it is."""
        if (row := self.own.get(law, {}).get(key)) is not None:
            return row, self.own_calibrated, "own"
        row = self.laws.get(law, {}).get(key)
        return None if row is None else (row, self.calibrated, self.name)


def worst(*kinds: Calibrated) -> Calibrated:
    """Return the kind that is trusted least.

    Examples:
        >>> worst(Calibrated.OWN, Calibrated.TRANSFERRED).value
        'transferred'
    """
    return max(kinds, key=list(Calibrated).index)


def source_of(gpu: Gpu) -> Source:
    """Return the GPU's results with the user's own before them."""
    shipped = _shipped(gpu)
    if gpu.own_results is None:
        return shipped
    sliced = gpu.own_results.stem != gpu.id
    return replace(
        shipped,
        own=read_own_fitted(gpu.own_results),
        own_calibrated=Calibrated.TRANSFERRED if sliced else Calibrated.OWN,
    )


def _shipped(gpu: Gpu) -> Source:
    """Return the GPU's shipped results, its relative's, or the pooled ones."""
    if gpu.id in fitted_ids():
        return Source(gpu.id, read_fitted(gpu.id), Calibrated.MEASURED)
    relative = gpu.efficiency_from
    if relative is None:
        return default()
    if relative not in fitted_ids():
        raise TableError(f"gpus/{gpu.id}.toml borrows from {relative!r}, which has no results.")
    return Source(relative, read_fitted(relative), Calibrated.TRANSFERRED)


@cache
def _link_kind(gpu_id: str) -> str:
    return str(load_gpu(gpu_id).link.kind)


def with_default(own: Source) -> tuple[Source, ...]:
    """Return a source, and the pooled results behind it."""
    return (own,) if own.name == DEFAULT else (own, default())


def default() -> Source:
    """Return the pooled results."""
    return Source(DEFAULT, read_fitted(DEFAULT), Calibrated.DATASHEET)


def link_source(gpu: Gpu, own: Source) -> Source:
    """Return the results whose collectives hold for this GPU's link, perhaps none."""
    same = own.name != DEFAULT and _link_kind(own.name) == str(gpu.link.kind)
    return own if same else replace(own, laws={})


def collective(
    links: tuple[Source, Source], law: str, ranks: int, gpu: Gpu
) -> tuple[Coefficients, Calibrated, str]:
    """Return the own link's result, else that of the link's family, else NVLink's fractions."""
    measured, default = links
    found = measured.row(law, str(ranks))
    if found:
        return found
    for family in (str(gpu.link.kind), NVLINK):
        row = default.laws.get(f"{law}.{family}", {}).get(str(ranks))
        if row:
            return row, Calibrated.DATASHEET, f"{DEFAULT} {family}"
    raise TableError(f"results {DEFAULT}.toml has no {law} of {ranks} ranks.")


def find(
    sources: tuple[Source, ...], law: str, chain: tuple[str, ...], peaks: tuple[str, ...]
) -> tuple[Coefficients, Calibrated, str]:
    """Return the first row of a chain whose fractions are of one of these peaks."""
    for source in sources:
        for place, key in enumerate(chain):
            found = source.row(law, key)
            if found is None or (peaks and found[0].peak not in peaks):
                continue
            row, calibrated, name = found
            kind = worst(calibrated, Calibrated.TRANSFERRED) if place > 0 else calibrated
            return row, kind, f"{name} {key} {row.engine}"
    raise TableError(f"results {sources[0].name}.toml has no {law} for {chain[0]}.")
