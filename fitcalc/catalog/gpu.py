"""GPUs: memory, bandwidth, dense peaks and links, every figure with its unit and source.

One file a GPU, ``hardware_db/gpus/<id>.toml``; other names in ``hardware_db/aliases.toml``. A
user's own calibration may add devices and results (``fitcalc.catalog.own``). "Dense" is without
2:4 sparsity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import cast

from fitcalc.catalog.link import Link, base_value, link_table, parse_link
from fitcalc.catalog.own import own_folder, own_ids, read_own
from fitcalc.catalog.tables import Figure, Toml, figure, read_toml, root
from fitcalc.errors import FitcalcError, TableError, UnknownName
from fitcalc.units import is_finite_positive

PEAK_FORMATS = ("bf16", "fp16", "fp8", "int8", "fp4")
"""Number formats a peak may be given for; a format that is absent is not native."""

_TEXTS = ("name", "vendor", "architecture", "compute_capability", "link", "pcie")
_FIGURES = ("memory", "memory_nominal", "memory_bandwidth", "gpus_per_node")
_OPTIONAL = (
    *(f"dense_{fmt}" for fmt in PEAK_FORMATS),
    "cuda_memory", "link_bandwidth", "link_domain", "power",
)  # fmt: skip
_KEYS = {*_TEXTS, *_FIGURES, *_OPTIONAL, "efficiency_from", "sources"}
_WORD = re.compile(r"[a-z0-9]+")
_UNSAID = frozenset(
    {"nvidia", "amd", "intel", "tesla", "geforce", "instinct", "r", "tm", "graphics"}
)


class Vendor(StrEnum):
    """Who makes the GPU; ``cpu`` is a processor that was calibrated as a device."""

    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator as the driver shows it.

    ``memory_bytes`` is the driver's total [B], ``cuda_memory_bytes`` the smaller total that a
    process sees, where a log shows it [B]; ``memory_bandwidth`` in B/s; ``peak_flops`` dense, by
    number format [FLOP/s]; ``pcie_bandwidth`` one way [B/s]; ``gpus_per_node`` in the largest usual
    node [GPUs]; ``efficiency_from`` the measured GPU whose fitted efficiencies are borrowed;
    ``estimates`` the figures that no source was seen for; ``own_results`` the user's own fitted
    results, where there are any.
    """

    id: str
    name: str
    vendor: Vendor
    architecture: str
    compute_capability: str
    memory_bytes: float
    cuda_memory_bytes: float | None
    memory_bandwidth: float
    peak_flops: Mapping[str, float] = field(hash=False)
    link: Link
    pcie_bandwidth: float
    gpus_per_node: int
    power_w: float | None
    efficiency_from: str | None
    estimates: tuple[str, ...]
    own_results: Path | None = None

    @property
    def capability(self) -> float:
        """CUDA compute capability as a number, such as 9.0; 0.0 where there is none."""
        return float(self.compute_capability) if self.vendor is Vendor.NVIDIA else 0.0


def gpu_ids() -> tuple[str, ...]:
    """Return the ids of all GPUs, sorted; the user's own devices last."""
    shipped = shipped_ids()
    return (*shipped, *(name for name in own_ids(own_folder(), "gpus") if name not in shipped))


@cache
def shipped_ids() -> tuple[str, ...]:
    """Return the ids of the GPUs of hardware_db, sorted."""
    folder = root() / "hardware_db" / "gpus"
    names = (path.name for path in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def resolve_gpu(name: str) -> str:
    """Return the id behind an id, a name, an alias or a driver's name.

    Case, spaces, ``_`` and ``-`` do not count, nor do the vendor's words.

    Raises:
        UnknownName: no GPU has that name; the nearest are offered.

    Examples:
        >>> resolve_gpu("NVIDIA A100-SXM4-40GB")
        'a100_sxm_40gb'
    """
    found = _names(own_folder()).get(_plain(name))
    if found is None:
        said = (alias.lower() for aliases in _aliases().values() for alias in aliases)
        raise UnknownName("gpu", name, search_gpus(name) or (*gpu_ids(), *said))
    return found


def load_gpu(name: str) -> Gpu:
    """Load one GPU by id, alias or driver name.

    Raises:
        UnknownName: no GPU has that name.
        TableError: its table is broken.

    Examples:
        >>> load_gpu("h200").memory_bandwidth
        4800000000000.0
    """
    return _gpu(resolve_gpu(name), own_folder())


def load_gpus(names: Iterable[str] | None = None) -> tuple[Gpu, ...]:
    """Load several GPUs, or all of them; each once, in the order asked for."""
    wanted = gpu_ids() if names is None else (resolve_gpu(name) for name in names)
    own = own_folder()
    return tuple(_gpu(gpu_id, own) for gpu_id in dict.fromkeys(wanted))


def search_gpus(text: str) -> tuple[str, ...]:
    """Return the ids of GPUs with a name that holds the text.

    Examples:
        >>> search_gpus("h100")
        ('h100_nvl', 'h100_pcie', 'h100_sxm')
    """
    part = _plain(text)
    names = _names(own_folder())
    return tuple(sorted({gpu_id for name, gpu_id in names.items() if part in name}))


def gpu_figures(name: str) -> tuple[tuple[str, Figure, str], ...]:
    """Return a GPU's figures as its table has them: field, figure, title of the source."""
    gpu_id = resolve_gpu(name)
    table = _table(gpu_id, own_folder())
    sources = _sources(table, gpu_id)
    titles = {key: str(cast("Toml", source)["title"]) for key, source in sources.items()}
    keys = [key for key in table if key in _FIGURES or key in _OPTIONAL]
    cited = ((key, figure(table[key], f"{gpu_id}.{key}", sources)) for key in keys)
    return tuple((key, row, titles[row.source]) for key, row in cited)


def parse_gpu(gpu_id: str, table: Toml, links: Toml) -> Gpu:
    """Turn a GPU's table into a ``Gpu``.

    Raises:
        TableError: a key is unknown or missing, or a figure has no unit or no source.
    """
    unknown = sorted(set(table) - _KEYS)
    missing = [key for key in (*_TEXTS, *_FIGURES, "sources") if key not in table]
    if unknown or missing:
        wrong = f"has the unknown key {unknown[0]!r}" if unknown else f"has no {missing[0]}"
        raise TableError(f"table gpus/{gpu_id}.toml {wrong}; see hardware_db/README.md.")
    sources = _sources(table, gpu_id)
    figures = {
        key: figure(table[key], f"{gpu_id}.{key}", sources)
        for key in (*_FIGURES, *_OPTIONAL)
        if key in table
    }
    base = {key: base_value(row, f"{gpu_id}.{key}") for key, row in figures.items()}
    node = int(base["gpus_per_node"])
    link = parse_link(
        links,
        str(table["link"]),
        f"{gpu_id}.link",
        bandwidth=base.get("link_bandwidth"),
        domain=int(base.get("link_domain", node)),
    )
    borrowed = table.get("efficiency_from")
    return Gpu(
        id=gpu_id,
        name=str(table["name"]),
        vendor=_vendor(table["vendor"], gpu_id),
        architecture=str(table["architecture"]),
        compute_capability=str(table["compute_capability"]),
        memory_bytes=base["memory"],
        cuda_memory_bytes=base.get("cuda_memory"),
        memory_bandwidth=base["memory_bandwidth"],
        peak_flops={fmt: base[f"dense_{fmt}"] for fmt in PEAK_FORMATS if f"dense_{fmt}" in base},
        link=link,
        pcie_bandwidth=parse_link(links, str(table["pcie"]), f"{gpu_id}.pcie").bandwidth,
        gpus_per_node=node,
        power_w=base.get("power"),
        efficiency_from=None if borrowed is None else str(borrowed),
        estimates=tuple(
            key
            for key, row in figures.items()
            if cast("Toml", sources[row.source])["kind"] == "estimate"
        ),
    )


def _plain(name: str) -> str:
    """Letters and digits only, without the vendor's words."""
    words = _WORD.findall(name.casefold())
    return "".join(word for word in words if word not in _UNSAID)


def _vendor(value: object, gpu_id: str) -> Vendor:
    try:
        return Vendor(str(value))
    except ValueError:
        raise TableError(f"gpus/{gpu_id}.toml has the unknown vendor {value!r}.") from None


def _sources(table: Toml, gpu_id: str) -> Toml:
    """Return a table's sources, each with its kind, title and date."""
    sources = cast("Mapping[str, Toml]", table["sources"])
    for key, source in sources.items():
        if not {"kind", "title", "accessed"} <= set(source):
            raise TableError(f"source {key!r} of gpus/{gpu_id}.toml needs kind, title, accessed.")
    return sources


@cache
def _aliases() -> Mapping[str, list[str]]:
    return cast("Mapping[str, list[str]]", read_toml("hardware_db", "aliases.toml"))


@cache
def _names(own: Path | None) -> dict[str, str]:
    """Every plain name of every GPU, and its id."""
    said = _aliases()
    names = {
        _plain(name): gpu_id for gpu_id in shipped_ids() for name in (gpu_id, *said.get(gpu_id, ()))
    }
    for gpu_id in own_ids(own, "gpus"):
        for name in (gpu_id, str(_table(gpu_id, own).get("name", gpu_id))):
            names.setdefault(_plain(name), gpu_id)
    strangers = sorted(set(own_ids(own, "results")) - set(names.values()))
    if strangers:
        what = f"results/{strangers[0]}.toml is of a GPU that no table holds"
        raise FitcalcError(f"calibration {own}: {what}; add gpus/{strangers[0]}.toml.")
    return names


@cache
def _table(gpu_id: str, own: Path | None) -> Toml:
    if own is not None and gpu_id not in shipped_ids():
        return read_own(own / "gpus" / f"{gpu_id}.toml")
    return read_toml("hardware_db", "gpus", f"{gpu_id}.toml")


@cache
def _gpu(gpu_id: str, own: Path | None) -> Gpu:
    if own is None or gpu_id in shipped_ids():
        gpu = parse_gpu(gpu_id, _table(gpu_id, None), link_table())
    else:
        gpu = _own_gpu(gpu_id, own)
    if gpu_id not in own_ids(own, "results"):
        return gpu
    return replace(gpu, own_results=cast("Path", own) / "results" / f"{gpu_id}.toml")


def _own_gpu(gpu_id: str, own: Path) -> Gpu:
    """Read a device of the user's own; what is wrong with it is the user's to mend."""
    try:
        gpu = parse_gpu(gpu_id, _table(gpu_id, own), link_table())
    except (AttributeError, TypeError, ValueError) as error:
        raise FitcalcError(f"calibration {own}: {str(error).rstrip('.')}.") from None
    for name in ("memory_bytes", "memory_bandwidth", "gpus_per_node"):
        if not is_finite_positive(getattr(gpu, name)):
            field = name.removesuffix("_bytes")
            raise FitcalcError(f"calibration {own}: gpus/{gpu_id}.toml needs a {field} above 0.")
    if not gpu.peak_flops or not all(map(is_finite_positive, gpu.peak_flops.values())):
        raise FitcalcError(f"calibration {own}: gpus/{gpu_id}.toml needs dense_* peaks above 0.")
    return gpu
