"""Fit one device from its own folder of rows, and write what planning reads.

``fitcalc calibrate --device`` writes the rows. ``results/<gpu>.toml`` and, for a device that
hardware_db does not hold, ``gpus/<gpu>.toml`` are written beside them (``fitcalc.catalog.own``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from fitcalc.calibrate.bench.facts import FILE
from fitcalc.calibrate.bench.facts import read_facts as read_file
from fitcalc.calibrate.fit import Routing
from fitcalc.calibrate.measured import fit_gpu
from fitcalc.calibrate.own_device import Facts, new_device
from fitcalc.calibrate.own_rows import MEASURED_AT, OwnRows, read_own_rows
from fitcalc.calibrate.results import Result, to_toml
from fitcalc.calibrate.solve import Fit
from fitcalc.calibrate.tables import read_rows
from fitcalc.catalog.fitted import COEFFICIENTS, DEFAULT, read_fitted
from fitcalc.catalog.gpu import Gpu, load_gpu, shipped_ids
from fitcalc.catalog.own import calibration
from fitcalc.errors import FitcalcError, InvalidValue

HEADER = (
    "# Written by `fitcalc calibrate`. A law that is taken out here is the shipped one again.\n"
)
_ID = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """One device's fit.

    Attributes:
        gpu: The device; of hardware_db, or as measured.
        known: Whether hardware_db holds it.
        source: Where and when it was measured.
        rows: The measured rows.
        results: Every law that could be fitted.
        missing: What was not measured or is too thin, and is borrowed as before, in words.
        files: What was written.
    """

    gpu: Gpu
    known: bool
    source: str
    rows: OwnRows
    results: tuple[Result, ...]
    missing: tuple[str, ...]
    files: tuple[Path, ...]


def fit_device(folder: Path) -> DeviceFit:
    """Fit every law that a folder's rows tell, and write the results beside them.

    Raises:
        FitcalcError: a table is broken, or nothing in the folder can be fitted.
    """
    rows = read_own_rows(folder)
    facts = read_facts(folder, rows)
    gpu_id = str(facts["system"])
    day = measured_on(folder, rows)
    source = _source(facts, day)
    texts: dict[str, str] = {}
    if known := gpu_id in shipped_ids():
        with calibration(None):
            gpu = load_gpu(gpu_id)
    else:
        gpu, texts[f"gpus/{gpu_id}.toml"] = new_device(facts, rows, source, day)
    results = fit_gpu(gpu, rows, shipped_routing(), _shipped_eta())
    if not results:
        fix = "no law has enough rows; measure more of them"
        raise InvalidValue("fit", folder, fix)
    texts[f"results/{gpu_id}.toml"] = to_toml(gpu_id, source, results, HEADER)
    files = tuple(_write(folder / name, text) for name, text in texts.items())
    return DeviceFit(gpu, known, source, rows, tuple(results), missing(rows, results), files)


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidValue("fit", path, f"it cannot be written ({error.strerror})") from None
    return path


def read_facts(folder: Path, rows: OwnRows) -> Facts:
    """Read facts.toml; rows of one GPU of hardware_db may do without.

    Raises:
        FitcalcError: it is missing or broken, or is of another device than the rows.
    """
    path = folder / FILE
    systems = {str(name) for table in rows.held.values() for name in table.text("system")}
    if len(systems) != 1:
        what = f"measurements of {folder} are of several devices: {', '.join(sorted(systems))}"
        raise FitcalcError(f"{what}; keep one folder a device.")
    (system,) = systems
    facts = read_file(folder)
    if facts is None and system in shipped_ids():
        return {"system": system}
    if facts is None:
        raise FitcalcError(f"measurements {path} is missing: it says which device {system} is.")
    lacking = [name for name in ("system", "name", "memory_bytes") if not facts.get(name)]
    if lacking:
        raise FitcalcError(f"measurements {path}: it has no {lacking[0]}.")
    if facts["system"] != system or not _ID.fullmatch(system):
        what = f"system is {facts['system']!r}, and the rows say {system!r}"
        raise FitcalcError(f"measurements {path}: {what}; give both one name of a-z, 0-9 and _.")
    memory = facts["memory_bytes"]
    if isinstance(memory, bool) or not isinstance(memory, int) or memory <= 0:
        raise FitcalcError(f"measurements {path}: memory_bytes is {memory!r}; give whole bytes.")
    return facts


def measured_on(folder: Path, rows: OwnRows) -> date:
    """Return the day of the newest row; today where the rows do not say."""
    found = []
    for name in rows.held:
        cells = read_rows(folder / f"{name}.csv", ("system",))
        found += [row[MEASURED_AT][:10] for row in cells if row.get(MEASURED_AT)]
    try:
        return date.fromisoformat(max(found))
    except ValueError:  # none, or no date
        return datetime.now(UTC).date()


def _source(facts: Facts, day: date) -> str:
    words = [f"measured on this machine {day.isoformat()}"]
    words += [f"{key} {facts[key]}" for key in ("torch", "driver") if facts.get(key)]
    return "".join(c for c in ", ".join(words) if c.isprintable() and c not in '"\\')


def shipped_routing() -> Fit:
    """Return how unevenly experts are routed to, as the shipped results have it."""
    row = read_fitted(DEFAULT)["moe"]["bf16"]
    names = Routing._fields
    return Fit(
        values={name: row.values[name] for name in names},
        standard_errors={name: row.standard_error[name] for name in names},
        n=row.n,
        residual=row.residual,
        error=0.0,
        error_p90=0.0,
    )


def _shipped_eta() -> dict[str, float]:
    laws = read_fitted(DEFAULT)["attention_prefill"]
    return {key: row.values["eta_flops"] for key, row in laws.items()}


def missing(rows: OwnRows, results: list[Result]) -> tuple[str, ...]:
    """Say which tables are not there and which laws have too few rows."""
    words = [f"{name}.csv was not measured" for name in rows.missing()]
    for (law, key), count in rows.thin.items():
        needed = len(COEFFICIENTS[law])
        words.append(f"{law} {key}: {count} rows are too few for {needed} coefficients")
    laws = {result.law for result in results}
    borrowed = [law for law in COEFFICIENTS if law not in laws]
    return (*words, *((f"borrowed as before: {', '.join(borrowed)}",) if borrowed else ()))
