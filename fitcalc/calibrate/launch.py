"""Fit what a kernel outside CUDA graphs costs the host: ``calibration/results/launch.toml``.

vLLM's all-reduce of a few bytes, timed without a graph, waits for nothing but the host: it says how
fast the host beside each GPU launches. How much of that a kernel of a decode step takes is what the
eager steps of ``calibration/published/host.toml`` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from fitcalc.calibrate.rebuild import RESULTS, write
from fitcalc.calibrate.results import DIGITS
from fitcalc.calibrate.rows import SYSTEMS
from fitcalc.calibrate.tables import COLLECTIVES, Table, read_table
from fitcalc.catalog.tables import Toml, figure, read_toml
from fitcalc.errors import TableError
from fitcalc.units import KIB, MICRO

RANKS = "2"
LARGEST = 64 * KIB
"""Two ranks and few bytes: over PCIe more of either takes the device longer than the host. [B]"""
HEADER = """\
# What the host takes where no CUDA graph and no overlap hides it.
# Written by `fitcalc calibrate --from-tables`.
"""


class Measured(NamedTuple):
    """A time and its standard error. [s]"""

    value: float
    error: float
    n: int


def eager_op(table: Table, system: str) -> Measured | None:
    """Return the time of vLLM's all-reduce of a few bytes outside a CUDA graph. [s]"""
    rows = table.equal("system", system).equal("op", "all_reduce").equal("num_gpus", RANKS)
    rows = rows.equal("kernel", "vLLM_custom_eager")
    times = rows.number("latency_us")[rows.number("bytes") <= LARGEST] * MICRO
    if not len(times):
        return None
    return Measured(float(np.median(times)), float(np.std(times) / len(times) ** 0.5), len(times))


def share(ops: Mapping[str, Measured], published: Toml) -> Measured:
    r"""Return what a kernel of an eager step takes, in all-reduces of a few bytes. [1]

    $f = \exp(\mathrm{mean} \ln ((T - s) / (N t)))$ over published eager steps T of N kernels. Its
    error is how far one such step lies from it, as a user's own will.
    """
    sources = cast("Toml", published["sources"])
    step = figure(published["step"], "host.step", sources).base
    said = [
        (figure(pair["eager"], f"host.pairs.{name}", sources).base - step)
        / (float(cast("float", pair["kernels"])) * ops[str(pair["gpu"])].value)
        for name, pair in cast("Mapping[str, Toml]", published["pairs"]).items()
    ]
    logs = np.log(said)
    middle = float(np.exp(logs.mean()))
    return Measured(middle, middle * float(logs.std(ddof=1)), len(logs))


def fit_launch(table: Table, published: Toml) -> dict[str, Measured]:
    """Return the host's time of a kernel beside each measured GPU, and their median. [s]

    Raises:
        TableError: no all-reduce was timed outside a CUDA graph.
    """
    measured = {gpu: eager_op(table, system) for gpu, system in SYSTEMS.items()}
    ops = {gpu: op for gpu, op in measured.items() if op}
    if not ops:
        raise TableError("allreduce.csv holds no all-reduce timed outside a CUDA graph.")
    each = share(ops, published)
    found = {
        gpu: Measured(
            op.value * each.value,
            op.value * each.value * float(np.hypot(op.error / op.value, each.error / each.value)),
            op.n,
        )
        for gpu, op in ops.items()
    }
    values = [one.value for one in found.values()]
    found["default"] = Measured(float(np.median(values)), float(np.std(values)), len(values))
    return found


def to_toml(found: Mapping[str, Measured], published: Toml) -> str:
    """Write the figures with their standard errors."""
    lines = [HEADER, "[host]"]
    for name, source in (("step", "step"), ("legacy_sequence", "gap")):
        row = cast("Toml", published[name])
        lines.append(
            f'{name} = {{ value = {row["value"]}, unit = "{row["unit"]}", source = "{source}", '
            f"standard_error = {row['standard_error']} }}"
        )
    lines += ["", "[launch]"]
    for gpu, one in found.items():
        source = "median" if gpu == "default" else "rows"
        lines.append(
            f'{gpu} = {{ value = {one.value / MICRO:.{DIGITS}g}, unit = "us", '
            f'source = "{source}", standard_error = {one.error / MICRO:.2g}, n = {one.n} }}'
        )
    titles = {
        "step": "estimate: calibration/published/host.toml, vLLM pull request 25444",
        "gap": "estimate: calibration/published/host.toml, vLLM issue 10634",
        "rows": "estimate: all-reduces outside CUDA graphs in aiconfigurator-core 0.12.0, "
        "scaled to the eager steps of calibration/published/host.toml",
        "median": "estimate: median over the measured machines; their spread",
    }
    for name, title in titles.items():
        lines += ["", f"[sources.{name}]", f'title = "{title}"']
    return "\n".join(lines) + "\n"


def rebuild_launch(folder: Path, out: Path = RESULTS) -> dict[str, Measured]:
    """Fit to the all-reduces of a folder of timed kernels, and write the result.

    Raises:
        TableError: allreduce.csv is missing, or holds none outside a CUDA graph.
    """
    published = read_toml("calibration", "published", "host.toml")
    found = fit_launch(read_table(folder, "allreduce", COLLECTIVES), published)
    write(out / "launch.toml", to_toml(found, published))
    return found
