"""``fitcalc calibrate`` and ``fitcalc validate``: folders that users name, and their mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fitcalc.cli.main import run

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[2] / "shared"))
LOGS, RUNS = SHARED / "memory", SHARED / "silicon"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one sentence with which a command line is refused."""
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_no_folder_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from-tables" in refused(capsys, "calibrate")


@pytest.mark.parametrize("option", ["--from-tables", "--runs", "--memory"])
def test_a_folder_must_hold_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert str(tmp_path) in refused(capsys, "calibrate", option, str(tmp_path))
    assert "is not valid" in refused(capsys, "calibrate", option, str(tmp_path / "none"))


def test_a_table_without_a_column_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "startup.csv").write_text("gpu,tp\nh100,1\n")
    assert "has no column model_hf_id" in refused(capsys, "calibrate", "--memory", str(tmp_path))


def test_what_is_fitted_upon_results_is_not_written_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("calibrate", "--runs", str(tmp_path), "--out", str(tmp_path))
    assert "leave it out" in refused(capsys, *words)


@pytest.mark.parametrize("option", ["--silicon", "--memory"])
def test_validate_needs_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert "--silicon" in refused(capsys, "validate")
    assert str(tmp_path) in refused(capsys, "validate", option, str(tmp_path))


def test_details_are_of_serving_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("validate", "--memory", str(tmp_path), "--out", str(tmp_path))
    assert "it needs --silicon" in refused(capsys, *words)


def test_a_missing_library_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitcalc.cli.measurements.find_spec", lambda _: None)
    for words in (("validate", "--silicon"), ("calibrate", "--runs")):
        assert "pip install 'fitcalc[calibrate]'" in refused(capsys, *words, str(tmp_path))


@pytest.mark.skipif(not LOGS.is_dir(), reason=f"needs the start-up logs at {LOGS}")
def test_errors_of_memory_are_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--memory", str(LOGS), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert len(json.loads(said.out)["memory"]) >= 30


@pytest.mark.skipif(not (RUNS / "e2e_vllm.csv").is_file(), reason=f"needs the runs at {RUNS}")
def test_runs_on_one_gpu_are_predicted_as_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three runs can tell how good the tables are, and no fit can be made of them."""
    head, *rows = (RUNS / "e2e_vllm.csv").read_text().splitlines()
    few = [row for row in rows if "Llama" in row and "h200_sxm" in row and ",4.0," in row][:3]
    (tmp_path / "e2e_vllm.csv").write_text("\n".join([head, *few]))
    (tmp_path / "e2e_settings.csv").write_text((RUNS / "e2e_settings.csv").read_text())
    words = ("validate", "--silicon", str(tmp_path))
    assert run([*words, "--json", "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    (dense,) = said["by_family"]
    assert dense["runs"] == said["runs"] == 3
    assert dense["tpot, shipped"]["mean"] < 0.2
    assert "intervals" not in said
    assert len((tmp_path / "out" / "runs.csv").read_text().splitlines()) == 1 + 3
    assert "two GPUs" in refused(capsys, *words, "--write")
