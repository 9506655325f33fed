"""Memory that is neither weights nor KV cache: the fitted coefficients, with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import cast

from fitcalc.catalog.tables import Toml, figure, read_toml
from fitcalc.errors import TableError

TABLE = ("calibration", "results", "memory.toml")


@dataclass(frozen=True, slots=True)
class OverheadCoefficients:
    """What start-up logs say about vLLM's memory beyond weights and KV cache.

    Attributes:
        sampler_sorted: Peak of the sampler that sorts, per row and vocabulary entry. [B]
        sampler_lean: The same of the sampler that does not sort. [B]
        context: Kernels, handles and small buffers of an NVIDIA rank. [B]
        context_later: What a rank of vLLM 0.17 or later adds. [B]
        nvlink: Communicators over NVLink, per doubling of tp. [B]
        pcie: Communicators over PCIe, per doubling of tp. [B]
        fusion: Workspace of the fused all-reduce, per doubling of tp. [B]
        amd: The same as ``context`` of an AMD rank, its larger checkpoint included. [B]
        amd_link: Communicators of AMD, per doubling of tp. [B]
        vision: Embeddings of the dummy images of a multimodal model's profile run. [B]
        encoder: Peak of a vision tower until 0.16, per patch and hidden unit. [B]
        graph: CUDA graphs, per layer and captured size. [B]
        graph_moe: What a layer with experts adds. [B]
        graph_amd: The same as ``graph`` on AMD. [B]
        hidden: Memory of an NVIDIA card that the driver counts and a process does not see. [B]
        hidden_share: The part of it that grows with the card. [1]
        start: Taken on an NVIDIA card before vLLM looks, its own context included. [B]
        residual_p10: 10 % of starts of models left out of the fit, each model counting once,
            consumed less than predicted by this share. [1]
        residual_p90: 90 % of them consumed no more above it than this share. [1]
    """

    sampler_sorted: float
    sampler_lean: float
    context: float
    context_later: float
    nvlink: float
    pcie: float
    fusion: float
    amd: float
    amd_link: float
    vision: float
    encoder: float
    graph: float
    graph_moe: float
    graph_amd: float
    hidden: float
    hidden_share: float
    start: float
    residual_p10: float
    residual_p90: float


def parse_overheads(table: Toml) -> OverheadCoefficients:
    """Read the coefficients; each stands with its unit and source.

    Raises:
        TableError: a coefficient is missing or uncited.
    """
    sources = cast("Toml", table.get("sources", {}))
    rows = cast("Mapping[str, object]", table.get("coefficients", {}))
    names = [f.name for f in fields(OverheadCoefficients)]
    missing = [name for name in names if name not in rows]
    if missing:
        raise TableError(f"{'/'.join(TABLE)} has no {', '.join(missing)} under [coefficients].")
    return OverheadCoefficients(**{n: figure(rows[n], n, sources).base for n in names})


@cache
def load_overheads() -> OverheadCoefficients:
    """Load the fitted coefficients of ``calibration/results/memory.toml``."""
    return parse_overheads(read_toml(*TABLE))
