"""``fitcalc sweep``: tables, files, processes, a real cluster, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fitcalc.cli.main import run

LOAD = ["--model", "llama-3.1-8b", "--isl", "1000", "--osl", "100"]
ASK = ["sweep", *LOAD, "--gpu", "h100,l4", "--qps", "1,4,900"]
SCENARIO = """
model = "llama-3.1-8b"
[traffic]
qps = 2
isl = 1000
osl = 100
[deployment]
gpu = "h100"
"""


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run one command line in this process."""
    code = run(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_names_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, *ASK)
    assert (code, err) == (0, "")
    assert "predict: 6 scenarios, 3 with an answer" in out
    assert out.count("cannot carry the rate") == 3
    assert "Cheapest: deployment.gpu h100, traffic.qps 4 at $" in " ".join(out.split())
    code, out, _ = answer(capsys, *ASK, "--best", "latency", "--top", "2")
    assert "The best 2 of 6 scenarios." in out
    assert "Fastest: deployment.gpu h100, traffic.qps 1." in " ".join(out.split())


@pytest.mark.parametrize("ask", ["plan", "simulate", "fit"])
@pytest.mark.parametrize("width", ["60", "120"])
def test_every_question_has_a_table(
    ask: str, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    load = [] if ask == "fit" else ["--qps", "1"]
    code, out, err = answer(capsys, "sweep", *LOAD, *load, "--gpu", "h100,t4", "--ask", ask)
    assert (code, err) == (0, "")
    assert f"{ask}: 2 scenarios" in out
    assert "h100" in out
    assert max(map(len, out.splitlines())) <= int(width)


def test_a_file_is_swept_into_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario, table = tmp_path / "fitcalc.toml", tmp_path / "sweep.csv"
    scenario.write_text(SCENARIO, encoding="utf-8")
    words = ["sweep", str(scenario), "--set", "traffic.qps=1,2", "--set", "max_num_seqs=none,64"]
    code, out, err = answer(capsys, *words, "--csv", str(table), "--json")
    swept = json.loads(out)
    assert (code, err, swept["ask"]) == (0, "", "predict")
    with table.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["traffic.qps"] for line in lines] == ["1", "1", "2", "2"]
    assert [line["engine.max_num_seqs"] for line in lines] == ["", "64", "", "64"]
    for line, row in zip(lines, swept["rows"], strict=True):
        assert float(line["answer.ttft_ms.p95"]) == row["answer"]["ttft_ms"]["p95"]


def test_nothing_serves_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "sweep", *LOAD, "--gpu", "h100", "--qps", "900,901")
    assert code == 1
    assert "Nothing serves. The first: cannot carry the rate" in " ".join(out.split())


def test_mistakes_are_said_once_under_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *ASK, "--max-num-seqs", "64,0")
    assert code == 0
    said = " ".join(out.split()).lower()
    assert "wrong in 6 scenarios: engine.max_num_seqs = '0' is not valid" in said


def test_processes_give_the_same_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = answer(capsys, *ASK, "--json")
    out = str(tmp_path / "sweep.jsonl")
    assert answer(capsys, *ASK, "--json", "--jobs", "2", "--out", out) == here
    assert answer(capsys, *ASK, "--json", "--out", out) == here


def test_a_bar_counts_where_somebody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = answer(capsys, *ASK, "--json")
    assert code == 0
    assert json.loads(out)["ask"] == "predict"
    assert "6/6" in err


# ---- a cluster


def test_a_cluster_gives_the_same_object(capsys: pytest.CaptureFixture[str]) -> None:
    distributed = pytest.importorskip("distributed")
    here = answer(capsys, *ASK, "--json")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        there = answer(capsys, *ASK, "--json", "--dask", cluster.scheduler_address)
    assert there == here


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "nowhere://x", "tcp://:x"])
def test_a_cluster_that_does_not_answer_is_exit_2(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("fitcalc.cli.executors._PATIENCE_S", 0.3)
    code, out, err = answer(capsys, *ASK, "--dask", address)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert address in err


def test_a_cluster_without_workers_is_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("fitcalc.cli.executors._PATIENCE_S", 1)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        code, out, err = answer(capsys, *ASK, "--dask", cluster.scheduler_address)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no workers" in err


def test_without_dask_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, out, err = answer(capsys, *ASK, "--dask", "tcp://127.0.0.1:8786")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'fitcalc[dask]'" in err


# ---- how a sweep ends


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_says_how_to_go_on(jobs: str, tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    many = ",".join(str(1 + i / 100) for i in range(150))
    words = ["sweep", *LOAD, "--gpu", "h100", "--qps", many]
    command = [sys.executable, "-m", "fitcalc", *words, "--ask", "simulate", "--jobs", jobs]
    with subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > 2):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers too
        said, talk = process.communicate()
    assert (process.returncode, said, talk.count("\n")) == (130, "", 1)
    assert "of 150 scenarios" in talk
    assert "the same command goes on from there" in talk
    lines = out.read_text(encoding="utf-8").splitlines()
    assert 2 < len(lines) < 150
    assert all(json.loads(line)["answer"] for line in lines)


WRONG = [
    (["--set", "traffic.qqs=1,2"], "traffic.qps"),
    (["--set", "zzzzzz=1"], "zzzzzz"),
    (["--set", "traffic.qps"], "traffic.qps"),
    (["--set", "tp="], "tp="),
    (["--set", "max_num_seqs=1", "--set", "max_num_seqs=2"], "max_num_seqs"),
    (["--tp", "1", "--set", "engine.tensor_parallel_size=2"], "tensor_parallel_size"),
    (["--set", "plan.headroom=0.1"], "headroom"),
    (["--tp", "1,2", "--ask", "plan"], "tensor_parallel_size"),
    (["--ask", "buy"], "buy"),
    (["--best", "luck"], "luck"),
    (["--jobs", "0"], "--jobs"),
    (["--jobs", "2", "--dask", "tcp://127.0.0.1:1"], "--dask"),
    (["--csv", "/no/such/folder/sweep.csv"], "csv"),
    (["--out", "/no/such/folder/sweep.jsonl"], "out"),
    (["--out", "/"], "out"),
    (["--max-num-seqs", "0"], "max_num_seqs"),
    (["--set", "traffic.isl.cv=1,2"], "traffic.isl"),
    (["--set", "engine.watermark=" + ",".join(["0"] * 20_000)], "100,000"),
    (["no-such-file.toml"], "no-such-file.toml"),
]


@pytest.mark.parametrize(("words", "named"), WRONG, ids=[" ".join(w)[:40] for w, _ in WRONG])
def test_a_wrong_sweep_is_exit_2_and_one_sentence(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(capsys, *ASK, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err
    assert "Traceback" not in err


def test_a_sweep_of_nothing_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, "sweep")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "give a scenario file, or --model" in err
