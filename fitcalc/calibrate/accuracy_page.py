"""docs/accuracy.md: what the tables of errors say, beside what a person wrote there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from fitcalc.calibrate.accuracy_tables import (
    CONFIGURATION_HEAD,
    LOAD_HEAD,
    Sheet,
    class_sheets,
    configuration,
    error_sheets,
    held,
    load,
    methods_sheet,
    rows_by,
)
from fitcalc.calibrate.validate import FOLDS, METRICS, Validation
from fitcalc.units import MILLI

BY_HAND = "## What is not explained"
"""From here up to the section on memory the page is written by hand."""
MEMORY = "## Memory"


def sheets(found: Validation) -> list[Sheet]:
    """Return every table of the page, in its order."""
    made = [*error_sheets(found), methods_sheet(found)]
    return [*made, *class_sheets(found, held(found))] if found.without else made


def page(made: Sequence[Sheet], runs: int) -> str:
    """Return the part of the page on latency."""
    words = [markdown(sheet) for sheet in made]
    return _PAGE.format(*words, n=runs, folds=FOLDS)


def markdown(sheet: Sheet) -> str:
    """Write a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (sheet.head, *sheet.rows)]
    return "\n".join([lines[0], "|-" * len(sheet.head) + "|", *lines[1:]])


def renewed(old: str, latency: str | None, memory: str | None) -> str:
    """Put new sections into a page; what a person wrote stays.

    Examples:
        >>> old = "stale" + chr(10) * 2 + BY_HAND + " ..."
        >>> renewed(old, "new", None).split()[0]
        'new'
        >>> BY_HAND in renewed(old, "new", None)
        True
    """
    rest, memory_mark, old_memory = old.partition(MEMORY)
    old_latency, hand_mark, hand = rest.partition(BY_HAND)
    parts = [
        old_latency if latency is None else latency,
        hand_mark + hand,
        memory_mark + old_memory if memory is None else memory,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def details_csv(found: Validation) -> str:
    """Write the errors by configuration and load as CSV. [1]"""
    made = rows_by(found, lambda run: configuration(run) + load(run))
    head = [word.lower() for word in (*CONFIGURATION_HEAD, *LOAD_HEAD, "runs")]
    ways = [f"{metric}_{by.lower()}" for metric, by in made[0].errors]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"{way}_{what}" for way in ways for what in ("mean", "median"))])
    for row in sorted(made):
        numbers = [f"{value:.4f}" for one in row.errors.values() for value in one]
        writer.writerow([*row.names, row.runs, *numbers])
    return text.getvalue()


def runs_csv(found: Validation) -> str:
    """Write every run with what was measured and what each way predicts, in ms."""
    ways = {"shipped": found.shipped, "closed_form": found.closed_form}
    ways |= {by.lower(): way for by, way in found.ways().items()}
    head = ["model", "format", "gpu", "tensor_parallel_size", "isl", "osl", "clients"]
    head += [f"{m}_ms_{way}" for m in METRICS for way in ("measured", *ways)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for i, run in enumerate(found.runs):
        seen = {"tpot": run.tpot_s, "ttft": run.ttft_s}
        said = [
            seen[m] * r for m in METRICS for r in (1.0, *(getattr(w, m)[i] for w in ways.values()))
        ]
        writer.writerow([
            *configuration(run), run.setup.engine.tensor_parallel_size,
            *(word.replace(",", "") for word in load(run)[:2]), run.traffic.concurrency,
            *(f"{seconds / MILLI:.4g}" for seconds in said),
        ])  # fmt: skip
    return text.getvalue()


_PAGE = """# Accuracy

Written by `fitcalc validate --silicon RUNS --memory LOGS --write` (calibration/README.md says where
the folders come from). Errors are in percent, mean/median of abs(predicted / measured - 1), over
{n} closed-loop serving runs of vLLM 0.10 to 0.19 by InferenceX, as collected in
aiconfigurator-core 0.12.0 (`systems/silicon_sample.csv`). Each run is predicted as its server was
driven: version, limits, KV format, lengths, all clients at once.

Serving's coefficients (`calibration/results/engine.toml`) are fitted to these runs; kernels and
collectives are fitted to kernels timed alone, never to these runs. So each run is predicted with
coefficients fitted without it. "Folds": without a part of the servers, one of {folds}; all loads of
a server and mix of lengths are in one part. "Models": without any run of its model. "GPUs": without
any run on its GPU.

{0}

## By load

Input and output are the longest of a run, in tokens; lengths are uniform from 80 % of these up.

{1}

## By model, format and GPU

[accuracy.csv](accuracy.csv) splits each row by load.

{2}

## Closed form

With the coefficients as shipped, fitted to these runs: what `predict` simulates for a known number
of requests, and the closed form that `plan` searches with. Its loop is steady: the first tokens of
clients that all start at once are not in it. "Inside" is the share of runs in the 80 % interval
that users get.

{3}

## GPUs whose kernels nobody measured

The same runs, predicted as if the GPU's kernels had not been timed. "Transferred": with a near
relative's fractions and floors (H100 and H200, B200 and B300 for each other). "Datasheet": with the
pooled ones, and with those of another generation (B200's for Hopper, H200's for Blackwell).
Serving's coefficients are fitted without the GPU.

{4}

## Intervals

Every prediction's 80 % interval comes from the residuals above by its class
(`calibration/results/accuracy.toml`): "measured" from other models and other GPUs, the others from
other GPUs. Runs of one model on one GPU miss alike, so the interval is that of a new such pair:
variance between pairs and within them, with Student's t for the few pairs there are
(`fitcalc/calibrate/intervals.py`). It is never narrower than that of the class before.

"Holds" is the share of runs inside intervals made in the same way without their model, or without
their GPU: neither the interval nor the coefficients behind it have seen these. There is one dense
model; without it, dense intervals are those of mixtures of experts.

{5}
"""
