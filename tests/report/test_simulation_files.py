"""Files of a simulation: whole, the same from the same seed, and readable by others."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest

from fitcalc.cli.main import run
from fitcalc.errors import InvalidValue
from fitcalc.report.whole_file import whole_file
from fitcalc.simulation.progress import Stopped, Tally

LINE = (
    "simulate", "--model", "llama-3.1-8b", "--gpu", "h100", "--isl", "575", "--osl", "40",
    "--qps", "40", "--num-requests", "300",
)  # fmt: skip


def test_three_formats_hold_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = {kind: tmp_path / f"run.{kind}" for kind in ("csv", "jsonl", "parquet")}
    for path in paths.values():
        assert run((*LINE, "--records", str(path), "--json")) == 0
        assert json.loads(capsys.readouterr().out)["num_requests"] == 300
    with paths["csv"].open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in paths["jsonl"].read_text().splitlines()]
    table = parquet.read_table(paths["parquet"]).to_pydict()
    assert list(rows[0]) == list(lines[0]) == list(table)
    for name, values in table.items():
        assert [float(row[name]) for row in rows] == values == [line[name] for line in lines]
    assert len(rows) == 300


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vl_convert")
    fleet = (
        "--replicas",
        "2",
        "--router",
        "random",
        "--outage",
        "1@2s-4s",
        "--seed",
        "7",
        "--json",
    )
    seen: list[list[bytes]] = []
    for turn in range(2):
        files = [tmp_path / f"{turn}.{kind}" for kind in ("jsonl", "html", "png")]
        plots = [word for path in files[1:] for word in ("--plot", str(path))]
        assert run((*LINE, *fleet, "--records", str(files[0]), *plots)) == 0
        seen.append([capsys.readouterr().out.encode(), *(path.read_bytes() for path in files)])
    assert seen[0] == seen[1]
    page = seen[0][2].decode()
    assert page.startswith("<!doctype html>")
    assert "KV cache in use" in page
    assert "<script" not in page
    assert 'href="http' not in page
    assert seen[0][3].startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("words", "lacking", "said"),
    [
        ("--records run.xlsx", False, "let it end in .csv, .jsonl, .parquet"),
        ("--plot run.jpeg", False, "let it end in .html, .png, .svg"),
        ("--records run.parquet", True, "fitcalc[parquet]"),
        ("--plot run.html", True, "fitcalc[plot]"),
        ("--records no/run.csv", False, "cannot be written"),
    ],
)
def test_files_that_cannot_be_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *,
    words: str,
    lacking: bool,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("records_file", "plot_file"):
        found = None if lacking else ""
        monkeypatch.setattr(f"fitcalc.report.{module}.find_spec", lambda _name, is_=found: is_)
    assert run((*LINE, *words.split())) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("before")

    def begin(where: Path, error: BaseException) -> None:
        with whole_file(where, "records") as part:
            if where == path:
                part.write_text("half")
            raise error

    with pytest.raises(KeyboardInterrupt):
        begin(path, KeyboardInterrupt())
    with pytest.raises(InvalidValue, match="records"):
        begin(tmp_path / "no" / "x", FileNotFoundError(2, "No such file"))
    assert [one.read_text() for one in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("pools", [(), ("--prefill-replicas", "1", "--decode-replicas", "1")])
def test_ctrl_c_tells_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    pools: tuple[str, ...],
) -> None:
    path = tmp_path / "run.csv"
    reports = 0
    add = Tally.add

    def interrupted(tally: Tally, ended: int) -> None:
        nonlocal reports
        reports += 1
        if reports == 280:
            signal.raise_signal(signal.SIGINT)
        add(tally, ended)

    monkeypatch.setattr(Tally, "add", interrupted)
    before = signal.getsignal(signal.SIGINT)
    fleet = pools or ("--replicas", "2")
    assert run((*LINE, *fleet, "--records", str(path), "--json")) == 130
    assert signal.getsignal(signal.SIGINT) is before
    answer = json.loads(capsys.readouterr().out)
    assert answer["num_requests"] + answer["unfinished"] == 300
    assert 0 < answer["num_requests"] < 300
    with path.open() as file:
        ends = [float(row["finish_s"]) for row in csv.DictReader(file)]
    assert len(ends) == answer["num_requests"]
    assert min(ends) > 0.0


def test_ctrl_c_before_anything_is_known_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_tally: Tally, _ended: int) -> None:
        raise Stopped

    monkeypatch.setattr(Tally, "add", stop)
    assert run((*LINE, "--prefill-replicas", "1", "--decode-replicas", "1")) == 130
    assert capsys.readouterr().out == ""
