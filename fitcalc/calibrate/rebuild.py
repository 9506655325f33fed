"""Rebuild the results of every measured GPU from a folder of timed kernels.

``fitcalc calibrate --from-tables DIR``; calibration/README.md says where DIR comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fitcalc.calibrate.measured import fit_gpu, fit_routing
from fitcalc.calibrate.published import read_published
from fitcalc.calibrate.results import Result, pooled, to_toml
from fitcalc.calibrate.rows import SYSTEMS
from fitcalc.catalog.gpu import load_gpu, load_gpus

RESULTS = Path(__file__).parents[2] / "calibration" / "results"
SOURCE = (
    "aiconfigurator-core 0.12.0 (Apache-2.0), systems/data/{system}; fitted by fitcalc.calibrate"
)
POOLED = "median over the measured GPUs; the standard error is their spread"
DEFAULT = "default"
LINKED = ("all_reduce", "all_reduce_fused", "all_gather", "all_to_all")


def rebuild(
    folder: Path, out: Path = RESULTS, told: Callable[[float], None] | None = None
) -> Mapping[str, Sequence[Result]]:
    """Fit all measured GPUs and write one file each, and the pooled default.

    Args:
        folder: The tables of measurements.
        out: Where the results go.
        told: Is told the share that is done.

    Raises:
        TableError: a table of measurements is missing or lacks a column.
    """
    data = read_published(folder)
    out.mkdir(parents=True, exist_ok=True)
    gpus = load_gpus(SYSTEMS)
    routing = fit_routing(gpus, data)
    results = {}
    for done, gpu in enumerate(gpus, start=1):
        results[gpu.id] = fit_gpu(gpu, data, routing)
        if told:
            told(done / len(gpus))
    for gpu_id, rows in results.items():
        source = SOURCE.format(system=SYSTEMS[gpu_id])
        write(out / f"{gpu_id}.toml", to_toml(gpu_id, source, rows))
    write(out / f"{DEFAULT}.toml", to_toml(DEFAULT, POOLED, pool(results)))
    return results


def pool(results: Mapping[str, Sequence[Result]]) -> list[Result]:
    """Pool each law and format over the GPUs; collectives by the family of their link."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for gpu_id, rows in results.items():
        kind = load_gpu(gpu_id).link.kind
        for row in rows:
            law = f"{row.law}.{kind}" if row.law in LINKED else row.law
            groups.setdefault((law, row.key, row.peak), []).append(row)
    most: dict[tuple[str, str], tuple[str, str, str]] = {}
    for group in groups:
        best = most.get(group[:2], group)
        most[group[:2]] = max(best, group, key=lambda key: len(groups[key]))
    return [
        Result(law, key, peak, f"{len(groups[law, key, peak])} GPUs",
               pooled([row.fit for row in groups[law, key, peak]]))
        for law, key, peak in most.values()
    ]  # fmt: skip


def write(path: Path, text: str) -> None:
    """Write a file as UTF-8."""
    path.write_text(text, encoding="utf-8")
