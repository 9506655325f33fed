"""What CI systems read is what their formats say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import JUnitXml
from sarif_pydantic import Sarif

from fitcalc.cli.main import run

TWO = """
model = "llama-3.1-8b"
traffic = { qps = 4, isl = 1000, osl = 200 }
deployment = { gpu = "h100", replicas = 2 }
engine = { max_num_seqs = 128 }
[scenario.good]
[scenario.bad]
slo = { ttft_ms = 5 }
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("fitcalc.toml")
    path.write_text(TWO, encoding="utf-8")
    return path


def test_junit_is_read_by_a_parser(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert file.exists()
    assert run(["check", "--junit", "j.xml"]) == 1
    assert capsys.readouterr().err == ""
    (suite,) = list(JUnitXml.fromfile("j.xml"))
    assert (suite.tests, suite.failures) == (2, 1)
    cases = {case.name: [(r.type, r.message) for r in case.result] for case in suite}
    assert cases["good"] == []
    assert cases["bad"][0][0] == "ttft"
    assert "promised are 5 ms" in cases["bad"][0][1]


def test_sarif_is_valid_and_points_at_the_line(file: Path) -> None:
    assert run(["check", str(file), "--sarif", "s.json"]) == 1
    text = Path("s.json").read_text(encoding="utf-8")
    (log,) = Sarif.model_validate_json(text).runs
    assert log.tool.driver.name == "fitcalc"
    (result,) = json.loads(text)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("fitcalc.toml", 8)
    assert result["ruleId"] == "ttft"


def test_annotations_are_workflow_commands(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert run(["check", "--annotations", "auto"]) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run(["check", "--annotations", "auto", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"] is False
    start = "::error file=fitcalc.toml,line=8,title=fitcalc%3A ttft::bad: TTFT at p95 is "
    assert said.err.startswith(start)
    file.write_text(TWO.replace("ttft_ms", "tttft"), encoding="utf-8")
    assert run(["check", "--annotations", "auto"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("::error file=fitcalc.toml,line=8,title=fitcalc%3A wrong question::")
    assert second.startswith("fitcalc.toml line 8: slo.tttft")
