"""``fitcalc calibrate --device``: what users see of a measurement, and of their mistakes."""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from fitcalc.cli import measuring
from fitcalc.cli.main import run

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is not installed: `make check` installs it"
)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one sentence with which a command line is refused."""
    assert run(("calibrate", *words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@needs_torch
def test_a_device_is_measured_and_then_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("calibrate", "--device", "cpu", "--only", "launch", "--out", str(tmp_path))
    assert run((*words, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["measured"], first["standing"], first["left"]) == (2, 0, 0)
    assert first["device"]["system"] == "cpu"
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "0 rows added" in said
    assert "2 stood already" in said


@needs_torch
def test_no_time_leaves_rows_for_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(("calibrate", "--device", "cpu", "--minutes", "1e-9", "--only", "gemm")) == 0
    said = capsys.readouterr().out
    assert "rows had no time: the same command measures them" in said
    assert (tmp_path / "fitcalc-calibration" / "cpu" / "facts.toml").exists()


@needs_torch
def test_whoever_interrupts_is_told_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    suite = importlib.import_module("fitcalc.calibrate.bench.suite")
    monkeypatch.setattr(suite, "measure", interrupted)
    assert run(("calibrate", "--device", "cpu", "--out", str(tmp_path))) == 130
    said = capsys.readouterr().err
    assert (
        said == f"interrupted: 0 rows stand in {tmp_path}; the same command goes on from there.\n"
    )


@needs_torch
@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("--device", "tpu"), "give cpu, or cuda:0"),
        (("--device", "cpu", "--only", "gem5"), "use one of bandwidth"),
        (("--device", "cpu", "--minutes", "0"), "give a time above 0"),
        (("--device", "cpu", "--runs", "x"), "leave out --fit, --from-tables"),
        (("--minutes", "3"), "by --device"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], fix: str
) -> None:
    assert fix in refused(capsys, *words, "--out", str(tmp_path))


@needs_torch
def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    path.touch()
    assert "it is a file" in refused(capsys, "--device", "cpu", "--out", str(path))


def test_without_torch_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "find_spec", lambda _: None)
    assert "pip install 'fitcalc[gpu]'" in refused(capsys, "--device", "cuda:0")
