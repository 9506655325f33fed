"""How far predictions lie from measured runs: docs/accuracy.md, calibration/results/accuracy.toml.

``python -m fitcalc.calibrate.validate DIR``, where DIR holds e2e_vllm.csv and e2e_settings.csv.

Every run is predicted as its server was driven: with serving's coefficients fitted to all runs (in
sample), to those of other models, and to those of other GPUs. Classes of predictions without
measured kernels are made by taking a relative's kernels, or the pooled ones, for a measured GPU's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcalc.answers import Calibrated
from fitcalc.calibrate.host import Mask, fit_serving
from fitcalc.calibrate.memory_page import HEADING, with_section
from fitcalc.calibrate.rebuild import RESULTS, write
from fitcalc.calibrate.runs import Run, read_runs
from fitcalc.calibrate.serving import Runs, schedules, tabled
from fitcalc.catalog.gpu import Gpu
from fitcalc.errors import FitcalcError, TableError
from fitcalc.physics.host import serving
from fitcalc.units import Array

DOCS = Path(__file__).parents[2] / "docs"
METRICS = ("tpot", "ttft")
ENDS = (0.1, 0.9)
RELATIVE = {
    "h100_sxm": "h200_sxm", "h200_sxm": "h100_sxm", "b200_sxm": "b300_sxm", "b300_sxm": "b200_sxm",
}  # fmt: skip
"""Whose kernels a GPU of the runs would borrow had it not been measured."""
DISTANT = {
    "h100_sxm": "b200_sxm", "h200_sxm": "b200_sxm", "b200_sxm": "h200_sxm", "b300_sxm": "h200_sxm",
}  # fmt: skip
"""A GPU of another generation."""
FORMATS = {"fp4": "4 bits", "fp8": "FP8", "int4": "W4A16"}
TITLE = "runs of InferenceX that the fit did not see, as in aiconfigurator-core 0.12.0's sample"


class Ratios(NamedTuple):
    """Predicted over measured of every run, TPOT and TTFT. [1]"""

    tpot: Array
    ttft: Array


class Validation(NamedTuple):
    """Predicted over measured: in sample, and for runs of models or GPUs the fit did not see.

    ``transferred`` and ``datasheet`` hold the ways in which kernels were borrowed.
    """

    runs: Sequence[Run]
    in_sample: Ratios
    other_models: Ratios
    other_gpus: Ratios
    transferred: tuple[Ratios, ...]
    datasheet: tuple[Ratios, ...]


def validate(runs: Sequence[Run]) -> Validation:
    """Predict every run in every way."""
    laid = schedules(runs, serving())
    own = tabled(runs, laid)

    def borrowing(relatives: Mapping[str, str]) -> Ratios:
        cards = [as_unmeasured(run.setup.gpu, relatives.get(run.gpu)) for run in runs]
        return left_out(own, tabled(runs, laid, cards), _gpu)

    return Validation(
        runs=runs,
        in_sample=_ratios(own, own.predicted(fit_serving(own).values)),
        other_models=left_out(own, own, _model),
        other_gpus=left_out(own, own, _gpu),
        transferred=(borrowing(RELATIVE),),
        datasheet=(borrowing({}), borrowing(DISTANT)),
    )


def as_unmeasured(gpu: Gpu, relative: str | None) -> Gpu:
    """Return a GPU under a name without results: it borrows a relative's, or the pooled ones."""
    return replace(gpu, id=f"{gpu.id}_unmeasured", efficiency_from=relative)


def left_out(fitted: Runs, asked: Runs, group: Callable[[Run], str]) -> Ratios:
    """Predict each group of runs with coefficients fitted to all other groups.

    Args:
        fitted: Runs as the fit sees them.
        asked: The same runs as they are predicted.
        group: What is left out together.
    """
    groups = np.array([group(run) for run in fitted.runs])
    tpot, ttft = np.zeros(len(groups)), np.zeros(len(groups))
    for name in np.unique(groups):
        mine = groups == name
        values = fit_serving(fitted, ~mine).values
        found = asked.predicted(values)
        tpot[mine], ttft[mine] = found[0][mine], found[1][mine]
    return _ratios(asked, (tpot, ttft))


def coverage(found: Validation) -> str:
    """Write how many runs fall into intervals made of the residuals on other GPUs, as a table.

    The residuals are left-out ones themselves, so that neither the coefficients nor the interval
    of a run has seen its GPU.
    """
    moe = np.array([run.setup.model.is_moe for run in found.runs])
    gpus = np.array([run.gpu for run in found.runs])
    lines = []
    for calibrated, ways in _ways(found).items():
        for family, mine in (("dense", ~moe), ("mixture of experts", moe)):
            cells = [
                f"{np.mean([_inside(1.0 / getattr(w, metric), gpus, mine) for w in ways]):.0%}"
                for metric in METRICS
            ]
            lines.append(f"| {calibrated.value} | {family} | {' | '.join(cells)} |")
    return _table(_CLASS_HEAD, lines)


def _inside(over: Array, gpus: NDArray[np.str_], mine: Mask) -> float:
    """Share of some runs within the ends of those on other GPUs. [1]"""
    inside = np.zeros(len(over), dtype=bool)
    for gpu in np.unique(gpus[mine]):
        low, high = np.quantile(over[mine & (gpus != gpu)], ENDS)
        inside |= mine & (gpus == gpu) & (over >= low) & (over <= high)
    return float(inside[mine].mean())


def _model(run: Run) -> str:
    return run.model


def _gpu(run: Run) -> str:
    return run.gpu


def _ratios(table: Runs, predicted: tuple[Array, Array]) -> Ratios:
    tpot, ttft = table.measured
    return Ratios(predicted[0] / tpot, predicted[1] / ttft)


def intervals(found: Validation) -> str:
    """Write the 10 % and 90 % points of measured over predicted, by metric and class, as TOML."""
    moe = np.array([run.setup.model.is_moe for run in found.runs])
    classes = _ways(found)
    lines = ["# Measured over predicted. Written by `python -m fitcalc.calibrate.validate`."]
    for metric in METRICS:
        for family, mine in (("dense", ~moe), ("moe", moe)):
            low, high = 1.0, 1.0
            for calibrated, ratios in classes.items():
                over = 1.0 / np.concatenate([getattr(r, metric)[mine] for r in ratios])
                ends = np.quantile(over, ENDS)
                low, high = min(low, float(ends[0])), max(high, float(ends[1]))
                cells = f'unit = "1", source = "left_out", n = {len(over)}'
                lines += [
                    f"\n[{metric}.{calibrated.value}.{family}]",
                    f"low = {{ value = {low:.3f}, {cells} }}",
                    f"high = {{ value = {high:.3f}, {cells} }}",
                ]
    return "\n".join([*lines, "", "[sources.left_out]", f'title = "{TITLE}"']) + "\n"


def _ways(found: Validation) -> Mapping[Calibrated, tuple[Ratios, ...]]:
    return {
        Calibrated.MEASURED: (found.other_models, found.other_gpus),
        Calibrated.TRANSFERRED: found.transferred,
        Calibrated.DATASHEET: found.datasheet,
    }


def page(found: Validation) -> str:
    """Write the errors by model, format and GPU as a page."""
    keys = [(run.model, FORMATS[run.precision], run.gpu) for run in found.runs]
    moe = np.array([run.setup.model.is_moe for run in found.runs])
    rows = [
        _line(key, np.array([other == key for other in keys]), found) for key in dict.fromkeys(keys)
    ]
    rows += [
        _line((f"**{name}**", "", ""), mine, found)
        for name, mine in (("dense", ~moe), ("mixture of experts", moe))
    ]
    classes = [
        _class_line(calibrated.value, family, ratios, mine)
        for calibrated, ratios in _ways(found).items()
        for family, mine in (("dense", ~moe), ("mixture of experts", moe))
    ]
    return _PAGE.format(
        n=len(keys),
        rows=_table(_HEAD, rows),
        classes=_table(_CLASS_HEAD, classes),
        coverage=coverage(found),
    )


def _line(key: tuple[str, str, str], mine: Mask, found: Validation) -> str:
    ways = (found.in_sample, found.other_models, found.other_gpus)
    cells = [_error(getattr(way, metric)[mine]) for metric in METRICS for way in ways]
    return f"| {' | '.join(key)} | {mine.sum()} | {' | '.join(cells)} |"


def _error(ratio: Array) -> str:
    off = np.abs(ratio - 1.0)
    return f"{off.mean():.1%} ({np.median(off):.1%})"


def _class_line(name: str, family: str, ratios: Sequence[Ratios], mine: Mask) -> str:
    cells = [_error(np.concatenate([getattr(r, m)[mine] for r in ratios])) for m in METRICS]
    return f"| {name} | {family} | {' | '.join(cells)} |"


_PAGE = """# Accuracy

Written by `python -m fitcalc.calibrate.validate DIR`. Errors are the mean, and in brackets the
median, of abs(predicted / measured - 1), over {n} closed-loop serving runs of vLLM 0.10 to 0.19 by
InferenceX, as collected in aiconfigurator-core 0.12.0 (`systems/silicon_sample.csv`). Each run is
predicted as its server was driven: version, limits, KV format, lengths, all clients at once.

Serving's coefficients (`calibration/results/engine.toml`) are fitted to these runs; kernels and
collectives are fitted to kernels timed alone, never to these runs. "Other models": the coefficients
are fitted without any run of that model. "Other GPUs": without any run on that GPU.

{rows}

## GPUs whose kernels nobody measured

The same runs, predicted as if the GPU's kernels had not been timed. "Transferred": with a near
relative's fractions and floors (H100 and H200, B200 and B300 for each other). "Datasheet": with the
pooled ones, and with those of another generation (B200's for Hopper, H200's for Blackwell).
Serving's coefficients are fitted without the GPU. The 10 % and 90 % points of these residuals are
the intervals of predictions of that class (`calibration/results/accuracy.toml`), never narrower
than those of the class before.

{classes}

Share of runs inside an 80 % interval made in the same way without the runs on their GPU:

{coverage}

## What is not explained

- The first token of MiniMax-M2.5 on 2 and 4 B200 took 50 to 90 ms longer in runs of early April
  2026 than on 1 and 8 in runs of late April: no setting of the server says why.
- Llama-3.1-70B on B200 ran prompts without CUDA graphs (`FULL_DECODE_ONLY`): with 1k prompts 30 to
  100 ms more to the first token than here.
- FP8 GEMMs on Hopper take up to twice as long for one row beyond a tile as for a full one. That
  is in the law up to 256 rows, where it mends decoding at 32 clients; beyond, runs' first tokens
  fit worse with it than without.
- A floor of a launch for each kernel of a step that no CUDA graph holds would explain part of
  B200's first tokens, but the same floor makes H100's worse. So only `--enforce-eager` has it, and
  prompts and batches beyond the captured sizes are taken as no slower than graphs. No run here was
  eager: what a launch takes is an estimate (`calibration/results/launch.toml`).
- MiniMax-M2.5 on 4 H200 (vLLM 0.16) decodes a fifth to a third slower than here; on 8 H200 (vLLM
  0.18) it does not.
- No run is known to have scheduled synchronously, so what a synchronous engine's host adds to a
  step is taken as nothing. Seven runs of gpt-oss-120b of November 2025 name no version; had they
  run vLLM 0.11, the newest then, they would say 0.5 ms with a standard error of 0.25 ms.
"""
_HEAD = ("Model", "Format", "GPU", "Runs", *(
    f"{metric.upper()}, {way}"
    for metric in METRICS
    for way in ("in sample", "other models", "other GPUs")
))  # fmt: skip
_CLASS_HEAD = ("Class", "Family", "TPOT", "TTFT")


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|-" * len(head) + "|", *rows])


def main(arguments: Sequence[str]) -> int:
    """Validate, write both files, and print the page."""
    try:
        if len(arguments) != 1:
            raise TableError("give the folder of runs: calibrate.validate DIR.")
        found = validate(read_runs(Path(arguments[0])))
    except FitcalcError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write(RESULTS / "accuracy.toml", intervals(found))
    whole = DOCS / "accuracy.md"
    _, heading, memory = whole.read_text(encoding="utf-8").partition(HEADING)
    write(whole, with_section(page(found), heading + memory) if memory else page(found))
    sys.stdout.write(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
