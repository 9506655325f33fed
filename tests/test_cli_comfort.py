"""Help with examples, completion, `fitcalc init`, narrow terminals, colour."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from fitcalc.cli.examples import EXAMPLES
from fitcalc.cli.main import COMMANDS, run
from fitcalc.inputs.scenario_file import read_scenario

ONE = ("--model", "llama-3.1-8b", "--gpu", "h100")
LOAD = ("--isl", "1000", "--osl", "200", "--qps", "2")
SHORT = (*LOAD, "--num-requests", "50")
ANSWERS = {
    "plan": ("--model", "70b", "--ctx", "8k", "--qps", "20", "--gpu", "h100,l40s"),
    "nothing fits": ("plan", "--model", "70b", "--ctx", "8k", "--qps", "20", "--max-gpus", "1"),
    "fit": (*ONE, "--ctx", "8k", "--what-if"),
    "fits": ("fit", "--model", "70b"),
    "predict": (*ONE, *LOAD),
    "simulate": (*ONE, *SHORT),
    "explain": (*ONE, *LOAD),
    "sweep": (*ONE, "--isl", "1000", "--osl", "200", "--qps", "1,900"),
    "check": ("fitcalc.toml",),
    "gpus": (),
    "one gpu": ("gpus", "h200"),
    "models": (),
    "one model": ("models", "qwen3-32b"),
}
FILE = """
model = "llama-3.1-8b"
traffic = { qps = 40, isl = 1000, osl = 200 }
[scenario.planned.plan]
gpus = ["h100", "l4"]
budget_usd_per_hour = 1
[scenario."a pinned deployment with quite a long name"]
deployment = { gpu = "h100", replicas = 2 }
slo = { ttft_ms = 5, itl_ms = 1 }
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert EXAMPLES[name]
    for line in EXAMPLES[name]:
        assert len(line) < 79
        assert line in said
        program, command, *words = shlex.split(line.partition(" > ")[0])
        assert program == "fitcalc"
        assert run([command, *words, "--help"]) == 0  # an option that there is not is exit 2
        assert run([command, *words, "--no-such-option", "--help"]) == 2


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_fit_80_columns(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("fitcalc.toml").write_text(FILE, encoding="utf-8")
    words = (
        ANSWERS[name]
        if ANSWERS[name][:1] and ANSWERS[name][0] in COMMANDS
        else (name, *ANSWERS[name])
    )
    run(words)
    out = capsys.readouterr().out
    wide = [line for line in out.splitlines() if len(line.rstrip()) > 80]
    assert out
    assert [line for line in wide if "vllm serve" not in line] == []
    assert "\x1b" not in out


def test_no_color_is_respected_where_colour_is_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    run(["predict", *ONE, *LOAD])
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    run(["predict", *ONE, *LOAD])
    assert "\x1b[3" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("fitcalc che", "check"), ("fitcalc plan --mod", "--model"),
     ("fitcalc fit --gpu h200", "h200_sxm"), ("fitcalc predict --model qwen3-32", "qwen3-32b")],
)  # fmt: skip
def test_a_shell_is_told_what_may_come_next(typed: str, offered: str) -> None:
    env = {
        **os.environ, "_FITCALC_COMPLETE": "complete_bash", "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }  # fmt: skip
    command = [sys.executable, "-m", "fitcalc"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert offered in done.stdout.split()


# ---- fitcalc init


def test_init_writes_a_file_that_check_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fitcalc.toml"
    words = ["init", str(path), "--yes", "--model", "70b", "--qps", "1M/day", "--gpu", "h100,l40s"]
    assert run([*words, "--budget", "$300", "--ttft", "1.5s"]) == 0
    assert capsys.readouterr().out == ""
    asked = read_scenario(path)
    assert (asked.model, asked.slo.ttft_ms) == ("70b", 1500)
    assert asked.traffic.qps == pytest.approx(1e6 / 86400)
    assert asked.plan is not None
    assert (asked.plan.gpus, asked.plan.budget_usd_per_hour) == (("h100", "l40s"), 300)
    before = path.read_text(encoding="utf-8")
    assert run(["init", str(path), "--yes"]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == before
    assert run(["init", str(path), "--yes", "--force"]) == 0
    assert read_scenario(path).model == "llama-3.1-8b"


def test_init_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fitcalc.toml"
    monkeypatch.setattr("sys.stdin", StringIO("70b\n20/s\n\n\n40\nany\nnone\n"))
    assert run(["init", str(path)]) == 0
    asked = read_scenario(path)
    assert (asked.model, asked.traffic.qps, asked.slo.itl_ms) == ("70b", 20, 40)
    assert asked.plan is not None
    assert asked.plan.gpus is None


def test_init_says_what_to_give_where_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("70b\n"))
    assert run(["init", str(tmp_path / "fitcalc.toml")]) == 2
    assert "qps is missing: nobody answers here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "lama-70b"), ("--qps", "2/fortnight"), ("--ctx", "8x"), ("--ttft", "soon"),
     ("--gpu", "h1000"), ("--budget", "lots"), ("--budget", "-3"), ("--qps", "0")],
)  # fmt: skip
def test_init_refuses_what_makes_no_sense(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fitcalc.toml"
    assert run(["init", str(path), "--yes", option, value]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not path.exists()
