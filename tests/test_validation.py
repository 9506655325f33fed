"""Measured runs: the fit finds what made synthetic ones, and real ones stay as near as they are."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fitcalc.answers import Calibrated, Prediction
from fitcalc.calibrate.host import fit_serving, to_toml
from fitcalc.calibrate.intervals import LEVEL, half_width
from fitcalc.calibrate.runs import Run, engine_args, read_runs
from fitcalc.calibrate.serving import Runs, schedules, tabled
from fitcalc.calibrate.validate import FOLDS, as_unmeasured, folds, left_out
from fitcalc.catalog.accuracy import spread
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated
from fitcalc.physics.host import Serving, serving
from fitcalc.planning.predict import predict
from fitcalc.planning.setup import Setup, set_up
from fitcalc.units import MILLI

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[2] / "shared"))
RUNS = SHARED / "silicon"
measured_runs = pytest.mark.skipif(
    not (RUNS / "e2e_vllm.csv").exists(),
    reason="the measured serving runs are not beside the checkout; set FITCALC_SHARED",
)
TRUTH = Serving(
    step=0.0, sequence=1.2e-5, prompt=4e-3, chunk=3e-8, flop=2e-16, frontend=1.5e-2,
    token=2.5e-6, skew=3e-6, floor=0.6,
)  # fmt: skip
"""Not today's figures, so that a fit which returns its start is found out."""
ROW = {
    "model_path": "meta-llama/Llama-3.1-70B", "precision": "fp8", "system": "h200_sxm",
    "backend_version": "", "origin": "", "moe_ep_size": "1.0", "osl": "1024",
    "ttft_ms": "1", "tpot_ms": "1", "measured": "2025-10-01",
}  # fmt: skip
SERVER = {
    "vllm_version": "0.10.2", "gpu_memory_utilization": "0.9", "kv_cache_dtype": "fp8",
    "max_model_len": "isl+osl+20 or +200", "max_num_seqs": "conc", "max_num_batched_tokens": "8192",
    "async_scheduling": "on",
}  # fmt: skip


def synthetic() -> Runs:
    """Runs whose latencies are those of known coefficients, on grounds that tell these apart."""
    runs = []
    for tp in (1, 2, 8):
        for clients in (2, 16):
            for isl in (256, 1024, 4096):
                row = {**ROW, "tp_size": str(tp), "conc": str(clients), "isl": str(isl)}
                setup = set_up("llama-3.1-70b", "h200", engine_args(row, SERVER))
                assert isinstance(setup, Setup)
                traffic = Traffic(
                    concurrency=clients,
                    num_requests=4 * clients,
                    isl=Lengths.uniform(int(0.8 * isl), isl),
                    osl=Lengths.uniform(200, 256),
                )
                runs.append(Run("m", "h200_sxm", "fp8", setup, traffic, 1.0, 1.0))
    bare = tabled(runs, schedules(runs, TRUTH))
    tpot, ttft = bare.predicted(TRUTH)
    told = [
        replace(run, tpot_s=a, ttft_s=b)
        for run, a, b in zip(runs, tpot.tolist(), ttft.tolist(), strict=True)
    ]
    return replace(bare, runs=told)


def test_the_fit_recovers_what_made_the_runs() -> None:
    table = synthetic()
    fit = fit_serving(table)
    for name, value in TRUTH._asdict().items():
        assert getattr(fit.values, name) == pytest.approx(value, rel=0.05, abs=1e-9), name
    assert fit.tpot_error < 0.002
    rows = tomllib.loads(to_toml(fit))["serving"]
    assert isinstance(rows, Mapping)
    assert set(rows) == set(Serving._fields)


def test_settings_are_those_of_the_day() -> None:
    server = {
        **SERVER,
        "kv_cache_dtype": "fp8 (auto before April 2026)",
        "max_num_batched_tokens": "2*isl (default before April 2026)",
        "max_num_seqs": "default",
    }
    row = {**ROW, "tp_size": "4.0", "conc": "64.0", "isl": "8192"}
    before = engine_args({**row, "measured": "2026-03-01"}, server)
    after = engine_args({**row, "measured": "2026-04-03"}, server)
    assert (before.kv_cache_dtype, before.max_num_batched_tokens) == ("auto", None)
    assert (after.kv_cache_dtype, after.max_num_batched_tokens) == ("fp8", 16_384)
    assert after.max_model_len == 8192 + 1024 + 200


def test_intervals_hold_the_prediction_and_widen_with_ignorance() -> None:
    for metric in ("tpot", "ttft"):
        for is_moe in (False, True):
            ends = [spread(metric, kind, is_moe=is_moe) for kind in Calibrated]
            assert all(low < 1.0 < high for low, high in ends)
            assert all(
                near.low >= far.low and near.high <= far.high for near, far in pairwise(ends)
            )


def test_loads_of_one_server_and_lengths_are_left_out_together() -> None:
    runs = synthetic().runs
    dealt = folds(runs)
    kinds: dict[tuple[int, float], set[str]] = {}
    for run, fold in zip(runs, dealt.tolist(), strict=True):
        key = run.setup.engine.tensor_parallel_size, run.traffic.isl.mean
        kinds.setdefault(key, set()).add(fold)
    assert all(len(found) == 1 for found in kinds.values())
    assert len(set(dealt.tolist())) == FOLDS


@pytest.mark.parametrize("cells", [3, 7])
@pytest.mark.parametrize("between", [0.0, 0.7, 2.0])
def test_an_interval_holds_its_share_of_runs_of_a_new_server(cells: int, between: float) -> None:
    """Residuals of known variances, between cells and within: the truth is the level itself."""
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(cells).astype(np.str_), 20)
    held = []
    for _ in range(300):
        seen = np.repeat(rng.normal(0.0, between, cells), 20) + rng.normal(0.0, 1.0, 20 * cells)
        new = rng.normal(0.0, between) + rng.normal(0.0, 1.0, 20)
        held.append(np.mean(np.abs(new) <= half_width(seen, names)))
    assert np.mean(held) == pytest.approx(LEVEL, abs=0.05)


def test_the_page_tells_of_the_intervals_that_users_get() -> None:
    """And that intervals made alike hold 70 to 90 % of the runs on GPUs that they did not see."""
    page = (Path(__file__).parents[1] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    table = page.partition("## Intervals")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 6
    for kind, family, *cells in rows[1:]:
        for metric, (ends, _, held) in {"tpot": cells[:3], "ttft": cells[3:]}.items():
            said = spread(metric, Calibrated(kind), is_moe=family == "MoE")
            told = [float(end.rstrip("%")) / 100.0 + 1.0 for end in ends.split(" to ")]
            assert told == pytest.approx([said.low, said.high], abs=0.006)
            assert 70 <= int(held.rstrip("%")) <= 90


@measured_runs
def test_every_measured_run_can_be_read() -> None:
    runs = read_runs(RUNS)
    assert len(runs) > 200
    card = as_unmeasured(runs[0].setup.gpu, None)
    assert calibrated(card, runs[0].setup.weight) is Calibrated.DATASHEET


@measured_runs
def test_errors_on_measured_runs_do_not_grow() -> None:
    """A ratchet: lower the limits when predictions get better, never raise them."""
    runs = [run for run in read_runs(RUNS) if (run.traffic.concurrency or 0) <= 64][::4]
    moe = np.array([run.setup.model.is_moe for run in runs])
    table = tabled(runs, schedules(runs, serving()))
    errors = [
        np.abs(said / seen - 1.0)
        for said, seen in zip(table.predicted(serving()), table.measured, strict=True)
    ]
    found = {
        (metric, family): float(off[mine].mean())
        for metric, off in zip(("tpot", "ttft"), errors, strict=True)
        for family, mine in (("dense", ~moe), ("moe", moe))
    }
    assert found["tpot", "dense"] < 0.045, found
    assert found["tpot", "moe"] < 0.08, found
    assert found["ttft", "dense"] < 0.125, found
    assert found["ttft", "moe"] < 0.145, found
    gpus = np.array([run.gpu for run in runs])
    (apart,) = left_out({Calibrated.MEASURED: (table,)}, gpus)[Calibrated.MEASURED]
    assert np.abs(apart.tpot - 1.0).mean() < 0.09


@measured_runs
def test_weights_of_a_schedule_say_what_the_simulation_says() -> None:
    """The sums that are fitted must be the latencies that users are told."""
    run = read_runs(RUNS)[-1]
    table = tabled([run], schedules([run], serving()))
    tpot, ttft = (float(seconds[0]) / MILLI for seconds in table.predicted(serving()))
    asked = {
        name: getattr(run.setup.engine, name)
        for name in (
            "tensor_parallel_size", "gpu_memory_utilization", "max_model_len", "max_num_seqs",
            "max_num_batched_tokens", "enable_prefix_caching", "async_scheduling", "version",
        )
    }  # fmt: skip
    said = predict(run.setup.model.id, run.gpu, EngineArgs.model_validate(asked), run.traffic)
    assert isinstance(said, Prediction)
    assert said.tpot_ms.mean == pytest.approx(tpot, rel=0.01)
    assert said.ttft_ms.mean == pytest.approx(ttft, rel=0.01)
