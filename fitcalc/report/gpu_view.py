"""GPUs as tables: the list, and one GPU with the source of each figure."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from fitcalc.catalog.gpu import Gpu, gpu_figures, gpu_ids, load_gpu, resolve_gpu, search_gpus
from fitcalc.catalog.price import offers
from fitcalc.errors import UnknownName
from fitcalc.report.parts import NARROW, table
from fitcalc.report.words import gib, number, usd
from fitcalc.units import GIGA, TERA

View = Callable[[int], RenderableType]


def answer(name: str | None) -> tuple[dict[str, object], View]:
    """Return the GPUs of a name, a part of a name, or all: as JSON and as a view."""
    found = _found(name)
    if isinstance(found, str):
        gpu = load_gpu(found)
        return one_json(gpu), lambda width: one_view(gpu, width)
    gpus = [load_gpu(gpu_id) for gpu_id in found]
    return {"gpus": [row_json(gpu) for gpu in gpus]}, lambda width: list_view(gpus, width)


def _found(name: str | None) -> str | tuple[str, ...]:
    """Return one id where the name is a GPU's own, else all ids whose names hold it."""
    if name is None:
        return gpu_ids()
    try:
        return resolve_gpu(name)
    except UnknownName:
        found = search_gpus(name)
        if not found:
            raise
        return found


def row_json(gpu: Gpu) -> dict[str, object]:
    """Return a GPU's line of the list, in base units."""
    return {
        "id": gpu.id,
        "name": gpu.name,
        "vendor": gpu.vendor.value,
        "compute_capability": gpu.compute_capability,
        "memory_bytes": gpu.memory_bytes,
        "memory_bandwidth_bytes_per_s": gpu.memory_bandwidth,
        "dense_flops_per_s": dict(gpu.peak_flops),
        "usd_per_gpu_hour": _price(gpu),
    }


def one_json(gpu: Gpu) -> dict[str, object]:
    """Return all that is known of a GPU, each figure with unit and source."""
    figures = [
        {"field": field, "value": f.value, "unit": f.unit, "source": source, "note": f.note}
        for field, f, source in gpu_figures(gpu.id)
    ]
    link = {"kind": gpu.link.kind.value, "bytes_per_s": gpu.link.bandwidth, "gpus": gpu.link.domain}
    return {
        **row_json(gpu),
        "architecture": gpu.architecture,
        "link": link,
        "efficiency_from": gpu.efficiency_from,
        "figures": figures,
    }


def list_view(gpus: list[Gpu], width: int) -> RenderableType:
    """Lay out one line a GPU."""
    wide = () if width < NARROW else ("bf16", "fp8", "link", "$/h")
    made = table("", "id", "memory", "bandwidth", *wide)
    for gpu in gpus:
        rest = (_tflops(gpu, "bf16"), _tflops(gpu, "fp8"), gpu.link.kind.value, usd(_price(gpu)))
        bandwidth = f"{gpu.memory_bandwidth / TERA:.2f} TB/s"
        made.add_row(gpu.id, gib(gpu.memory_bytes), bandwidth, *(rest if wide else ()))
    return Group(made, Text("Dense peaks in TFLOPS; $/h is the cheapest known offer for one GPU."))


def one_view(gpu: Gpu, width: int) -> RenderableType:
    """Lay out one GPU: every figure with its unit and source, then its prices."""
    made = table(f"{gpu.name} ({gpu.id})", "figure", "value")
    made.add_column("unit")
    made.add_column("source", overflow="fold")
    for field, figure, source in gpu_figures(gpu.id):
        made.add_row(field, f"{figure.value:,g}", figure.unit, source)
    where = (
        f"{gpu.vendor.value} {gpu.architecture}, "
        f"compute capability {gpu.compute_capability or '-'}; "
        f"{gpu.link.kind.value} reaches {gpu.link.domain} GPUs at "
        f"{number(gpu.link.bandwidth / GIGA)} GB/s one way."
    )
    borrowed = gpu.efficiency_from
    trust = f"Efficiencies are borrowed from {borrowed}." if borrowed else ""
    return Group(Text(where), made, Text(trust), _prices(gpu, width))


def _prices(gpu: Gpu, width: int) -> RenderableType:
    found = offers(gpu.id)
    if not found:
        return Text("No price is known.")
    wide = () if width < NARROW else ("region", "checked")
    made = table("On-demand prices", "cloud", "instance", "GPUs", "$/h a GPU", *wide)
    for offer in found:
        rest = (offer.region, offer.checked) if wide else ()
        price = usd(offer.usd_per_gpu_hour)
        made.add_row(offer.cloud, offer.instance, str(offer.gpus), price, *rest)
    return made


def _tflops(gpu: Gpu, fmt: str) -> str:
    peak = gpu.peak_flops.get(fmt)
    return "-" if peak is None else f"{peak / TERA:,.0f}"


def _price(gpu: Gpu) -> float | None:
    found = offers(gpu.id)
    return found[0].usd_per_gpu_hour if found else None
