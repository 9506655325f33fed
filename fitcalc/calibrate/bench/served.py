"""vLLM's own results of ``calibration/run_gpu.sh``, as the table of runs that predictions meet.

``python -m fitcalc.calibrate.bench.served OUT`` reads ``OUT/serving`` and writes e2e_vllm.csv and
e2e_settings.csv there, in the form of the published runs (``fitcalc.calibrate.runs``): closed
loops, 10 prompts a client, lengths uniform between 0.8 and 1 of the nominal length.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from fitcalc.calibrate.bench.facts import read_facts
from fitcalc.catalog.model import load_model
from fitcalc.errors import InvalidValue

ONE_RANK = {"tp_size": 1, "attention_dp_size": 1, "moe_tp_size": 1, "moe_ep_size": 1, "repeats": 1}
ORIGIN = "run_gpu.sh"
_LOAD = re.compile(r"isl(?P<isl>\d+)-osl(?P<osl>\d+)-clients(?P<conc>\d+)")
_OPTIONS = {
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "max_model_len": "--max-model-len",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
}

Row = Mapping[str, object]


def write_runs(folder: Path) -> int:
    """Write both tables of a GPU's folder; return the number of runs.

    Raises:
        InvalidValue: the folder holds no facts or no runs.
    """
    facts = read_facts(folder)
    if facts is None:
        raise InvalidValue("served", folder, "it has no facts.toml: measure its kernels first")
    serving = folder / "serving"
    named = re.search(r"^vllm (\S+)", _text(serving / "machine.txt"), re.MULTILINE)
    version = named[1] if named else "default"
    servers = sorted(path for path in serving.glob("*") if path.is_dir())
    runs = [run for server in servers for run in _runs(server, str(facts["system"]), version)]
    if not runs:
        raise InvalidValue("served", serving, "it holds no finished run; run run_gpu.sh")
    settings = [
        _settings(server, str(facts["system"]), version)
        for server in servers
        if any(server.glob("isl*-clients*.json"))
    ]
    _write(serving / "e2e_vllm.csv", runs)
    _write(serving / "e2e_settings.csv", settings)
    return len(runs)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _named(server: Path, system: str) -> Row:
    model, _, precision = server.name.rpartition("-")
    return {"model_path": load_model(model).hf_id, "system": system, "precision": precision}


def _runs(server: Path, system: str, version: str) -> Iterator[Row]:
    for path in sorted(server.glob("*.json")):
        load = _LOAD.fullmatch(path.stem)
        if load is not None:
            found = json.loads(path.read_text(encoding="utf-8"))
            day = str(found["date"])[:8]
            yield {
                **_named(server, system), **load.groupdict(), **ONE_RANK,
                "ttft_ms": found["mean_ttft_ms"], "tpot_ms": found["mean_tpot_ms"],
                "backend_version": version, "origin": ORIGIN,
                "measured": f"{day[:4]}-{day[4:6]}-{day[6:]}",
            }  # fmt: skip


def _settings(server: Path, system: str, version: str) -> Row:
    """Read the settings in the command that started the server."""
    words = _text(server / "command.txt").partition("\n")[0].split()
    given = dict(pairwise(words))
    return {
        **_named(server, system), "checkpoint": "random weights", "vllm_version": version,
        **{name: given[option] for name, option in _OPTIONS.items()}, "kv_cache_dtype": "auto",
        "async_scheduling": "default", "cudagraph_mode": "default", "other": "",
    }  # fmt: skip


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tuple(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write the tables of the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("give a folder: bench.served OUT")
    try:
        write_runs(Path(sys.argv[1]))
    except InvalidValue as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
