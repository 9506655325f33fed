"""A device that hardware_db does not hold, as measured: its table, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

from fitcalc.calibrate.own_rows import OwnRows
from fitcalc.calibrate.rows import FORMATS
from fitcalc.calibrate.tables import Table
from fitcalc.catalog.gpu import Gpu, parse_gpu
from fitcalc.catalog.link import link_table
from fitcalc.catalog.tables import Toml
from fitcalc.errors import FitcalcError
from fitcalc.physics.kernels import ACTIVATION_BYTES
from fitcalc.units import GIGA, MICRO, MILLI, TERA

Facts = Mapping[str, object]
OWN = "own"
DIGITS = 5
_SLOWEST = "pcie3_x16"
HEADER = "# Written by `fitcalc calibrate`: a device as it was measured.\n"


def best_flops(gemms: Table | None, gpu: str) -> dict[str, float]:
    """Return the most that GEMMs of each compute format reached. [FLOP/s]"""
    best: dict[str, float] = {}
    for dtype, form in FORMATS.items() if gemms is not None else ():
        rows = cast("Table", gemms).equal("system", gpu).equal("dtype", dtype)
        if len(rows):
            m, n, k, ms = (rows.number(c) for c in ("m", "n", "k", "latency_ms"))
            reached = float((2.0 * m * n * k / (ms * MILLI)).max())
            best[form.compute] = max(best.get(form.compute, 0.0), reached)
    return best


def best_bandwidth(rows: OwnRows, gpu: str) -> float | None:
    """Return the fastest read or copy; of GEMMs where neither was timed. [B/s]"""
    moved = rows.held.get("bandwidth")
    if moved is not None and len(timed := moved.equal("system", gpu)):
        return float((timed.number("bytes") / (timed.number("latency_us") * MICRO)).max())
    gemms = rows.held.get("gemm")
    plain = None if gemms is None else gemms.equal("system", gpu).equal("dtype", "bfloat16")
    if plain is None or not len(plain):
        return None
    m, n, k, ms = (plain.number(c) for c in ("m", "n", "k", "latency_ms"))
    return float((ACTIVATION_BYTES * (n * k + m * (n + k)) / (ms * MILLI)).max())


def new_device(facts: Facts, rows: OwnRows, title: str, day: date) -> tuple[Gpu, str]:
    """Return a device as measured, and its table as text.

    Raises:
        FitcalcError: no bf16 GEMM and no bandwidth was measured: it has no peaks.
    """
    gpu_id = str(facts["system"])
    peaks, bandwidth = best_flops(rows.held.get("gemm"), gpu_id), best_bandwidth(rows, gpu_id)
    if "bf16" not in peaks or bandwidth is None:
        what = f"measurements of {gpu_id}: a device that fitcalc does not know needs bfloat16 rows"
        raise FitcalcError(f"{what} in gemm.csv.")
    table = _table(facts, peaks, bandwidth, title, day)
    return parse_gpu(gpu_id, table, link_table()), to_toml(table)


def _table(
    facts: Facts, peaks: Mapping[str, float], bandwidth: float, title: str, day: date
) -> dict[str, object]:
    is_cpu = facts.get("kind") == "cpu"
    name, memory = str(facts["name"]), int(str(facts["memory_bytes"]))
    capability = "" if is_cpu else str(facts.get("compute_capability", ""))
    pcie = f"pcie{facts.get('pcie_generation_max')}_x{facts.get('pcie_width_max')}"
    nvlink = f"nvlink{facts.get('nvlink_version')}"
    kinds = cast("Toml", link_table()["links"])
    told = pcie in kinds
    pcie = pcie if told else _SLOWEST
    linked = bool(facts.get("nvlinks")) and nvlink in kinds
    table: dict[str, object] = {
        "name": name,
        "vendor": "cpu" if is_cpu else "amd" if name.upper().startswith("AMD") else "nvidia",
        "architecture": "cpu" if is_cpu else f"sm_{capability.replace('.', '')}",
        "compute_capability": capability,
        "link": nvlink if linked else pcie,
        "pcie": pcie,
        "memory": _figure(memory, "B"),
        "memory_nominal": _figure(memory, "B"),
        "memory_bandwidth": _figure(bandwidth / GIGA, "GB/s"),
        **{f"dense_{fmt}": _figure(peak / TERA, "TFLOPS") for fmt, peak in peaks.items()},
        "gpus_per_node": _figure(max(1, int(str(facts.get("gpus") or 1))), "GPUs"),
    }
    sources = {OWN: {"kind": "measured", "title": title, "accessed": day}}
    if not (told or linked or is_cpu):
        slowest = "the driver named no link: PCIe 3.0, the slowest of hardware_db/links.toml"
        sources["guess"] = {"kind": "estimate", "title": slowest, "accessed": day}
        speed = cast("Toml", cast("Toml", kinds[_SLOWEST])["bandwidth"])
        table["link_bandwidth"] = {
            "value": speed["value"], "unit": speed["unit"], "source": "guess",
        }  # fmt: skip
    return {**table, "sources": sources}


def _figure(value: float, unit: str) -> dict[str, object]:
    return {"value": value, "unit": unit, "source": OWN}


def to_toml(table: Mapping[str, object]) -> str:
    """Write a device's table.

    Examples:
        >>> print(to_toml({"name": "A", "sources": {}}).splitlines()[-1])
        name = "A"
    """
    lines = [HEADER]
    lines += [f"{key} = {_cell(cell)}" for key, cell in table.items() if key != "sources"]
    for key, source in cast("Mapping[str, Toml]", table["sources"]).items():
        lines += ["", f"[sources.{key}]"]
        lines += [f"{name} = {_cell(cell)}" for name, cell in source.items()]
    return "\n".join(lines) + "\n"


def _cell(cell: object) -> str:
    if isinstance(cell, Mapping):
        return "{ " + ", ".join(f"{key} = {_cell(value)}" for key, value in cell.items()) + " }"
    if isinstance(cell, str):
        plain = cell.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{"".join(c for c in plain if c.isprintable())}"'
    return f"{cell:.{DIGITS}g}" if isinstance(cell, float) else str(cell)
