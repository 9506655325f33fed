"""Every request of a simulation as a file: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcalc.report.whole_file import missing, suffix_of, whole_file
from fitcalc.simulation.disaggregated import Disaggregated
from fitcalc.simulation.records import COLUMNS, Records

SUFFIXES = (".csv", ".jsonl", ".parquet")

Columns = Mapping[str, NDArray[np.float64] | NDArray[np.int64]]


def check_records_file(path: Path) -> None:
    """Refuse a file that could not be written after the run.

    Raises:
        InvalidValue: its format is not known, or nothing is installed that writes it.
    """
    if suffix_of(path, SUFFIXES, "records") == ".parquet" and find_spec("pyarrow") is None:
        raise missing("records", path, "parquet")


def write_records(seen: Records, path: Path, pools: Disaggregated | None = None) -> None:
    """Write one row a request, in the order of the trace.

    Args:
        seen: The requests.
        path: Where; ``.csv``, ``.jsonl`` or ``.parquet``.
        pools: Where prefill and decode are apart: who did prefill, and the hand-over.

    Raises:
        InvalidValue: the file cannot be written.
    """
    check_records_file(path)
    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        name: np.asarray(getattr(seen, name)) for name in COLUMNS
    }
    if pools is not None:
        columns["prefill_replica"] = pools.prefill.replica
        columns["handover_s"] = pools.handover_s
    write = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    with whole_file(path, "records") as part:
        write(columns, part)


def _csv(columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _jsonl(columns: Columns, path: Path) -> None:
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)


def _parquet(columns: Columns, path: Path) -> None:
    from pyarrow import parquet, table  # noqa: PLC0415 - large, and in an extra

    parquet.write_table(table(dict(columns)), path)
