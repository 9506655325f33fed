"""The Action, the pytest plugin, the pre-commit hook, and the sample repository that uses them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import cast

import jsonschema
import pytest
import yaml
from pre_commit.clientlib import load_manifest

from fitcalc.cli.main import run
from fitcalc.inputs.scenario_file import read_scenarios

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "ci"
INSTALLED = bool(entry_points(group="pytest11", name="fitcalc"))
PLUGIN = () if INSTALLED else ("-p", "fitcalc.pytest_plugin")  # an older install names none

pytest_plugins = ["pytester"]

TIGHT = """
model = "llama-3.1-8b"
traffic = { qps = 4, isl = 1000, osl = 200 }
slo = { ttft_ms = 5 }
deployment = { gpu = "h100" }
engine = { max_num_seqs = 128 }
"""


def schema_of(name: str) -> dict[str, object]:
    """Return a schema of SchemaStore that check-jsonschema ships."""
    path = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json"
    return cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))


def loaded(path: Path) -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Return a copy of the sample repository, locked with today's tables."""
    copy = tmp_path / "sample"
    shutil.copytree(SAMPLE, copy)
    assert run(["lock", str(copy / "fitcalc.toml")]) == 0
    return copy


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


# ---- the Action


def test_the_action_and_the_workflow_are_valid() -> None:
    jsonschema.validate(loaded(ROOT / "action.yml"), schema_of("github-actions"))
    text = (SAMPLE / ".github" / "workflows" / "capacity.yml").read_text(encoding="utf-8")
    workflow = {str(key): value for key, value in yaml.safe_load(text).items()}
    named = {"on" if key == "True" else key: v for key, v in workflow.items()}  # YAML 1.1: on = yes
    jsonschema.validate(named, schema_of("github-workflows"))


def test_the_workflow_gives_inputs_that_the_action_has() -> None:
    inputs = set(cast("Mapping[str, object]", loaded(ROOT / "action.yml")["inputs"]))
    text = (SAMPLE / ".github" / "workflows" / "capacity.yml").read_text(encoding="utf-8")
    given = yaml.safe_load(text)["jobs"]["capacity"]["steps"][1]["with"]
    assert set(given) <= inputs


def run_action(folder: Path, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Run the Action's own script, as a runner would; return code, outputs and summary."""
    steps = cast("Mapping[str, list[Mapping[str, str]]]", loaded(ROOT / "action.yml")["runs"])
    script = steps["steps"][1]["run"]
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    stub = bin_ / "fitcalc"
    stub.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fitcalc "$@"\n', encoding="utf-8"
    )
    stub.chmod(0o755)
    output, summary = folder / "output", folder / "summary"
    output.write_text("", encoding="utf-8")
    summary.write_text("", encoding="utf-8")
    defaults = {"FILE": "fitcalc.toml", "BASELINE": "", "LOCKED": "false", "SUMMARY": "true",
                "JUNIT": "", "SARIF": ""}  # fmt: skip
    env = environment(
        **{**defaults, **inputs},
        PATH=f"{bin_}:{os.environ['PATH']}", GITHUB_ACTIONS="true", RUNNER_TEMP=str(folder),
        GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    lines = output.read_text(encoding="utf-8").splitlines()
    cells = dict(cast("tuple[str, str]", tuple(line.split("=", 1))) for line in lines)
    return done.returncode, done.stderr, cells, summary.read_text(encoding="utf-8")


def test_the_action_passes_the_sample(sample: Path) -> None:
    code, said, outputs, summary = run_action(sample, LOCKED="true", JUNIT="capacity.xml")
    assert (code, said, outputs["ok"]) == (0, "", "true")
    assert "2 of 2 scenarios" in summary
    assert Path(outputs["markdown"]).read_text(encoding="utf-8") == summary
    assert (sample / "capacity.xml").exists()


def test_the_action_fails_with_annotations(tmp_path: Path) -> None:
    (tmp_path / "fitcalc.toml").write_text(TIGHT, encoding="utf-8")
    code, said, outputs, summary = run_action(tmp_path, SARIF="s.json")
    assert (code, outputs["ok"]) == (1, "false")
    assert said.startswith("::error file=fitcalc.toml,line=4,")
    assert "over by" in summary
    (tmp_path / "fitcalc.toml").write_text(TIGHT.replace("ttft_ms", "ttft"), encoding="utf-8")
    code, said, outputs, _ = run_action(tmp_path)
    assert (code, outputs["ok"]) == (2, "false")
    assert "line 4" in said


# ---- the hook


def test_the_hooks_are_valid_and_run(
    sample: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sample)
    hooks = load_manifest(ROOT / ".pre-commit-hooks.yaml")
    (known,) = cast(
        "list[Mapping[str, list[Mapping[str, str]]]]",
        loaded(SAMPLE / ".pre-commit-config.yaml")["repos"],
    )
    assert {one["id"] for one in known["hooks"]} <= {one["id"] for one in hooks}
    for hook in hooks:
        name, *words = shlex.split(hook["entry"])
        assert name == "fitcalc"
        assert run([*words, "fitcalc.toml"]) == 0
    other = sample / "other" / "fitcalc.toml"
    other.parent.mkdir()
    other.write_text(TIGHT, encoding="utf-8")
    capsys.readouterr()
    assert run(["check", "fitcalc.toml", "other/fitcalc.toml", "--json"]) == 1
    assert [one["ok"] for one in json.loads(capsys.readouterr().out)["files"]] == [True, False]


# ---- the plugin


def run_pytest(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", *words)


@pytest.fixture
def plugin_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))


@pytest.mark.usefixtures("plugin_path")
def test_the_plugin_passes_the_sample(pytester: pytest.Pytester, sample: Path) -> None:
    done = run_pytest(pytester, "--rootdir", str(sample), str(sample))
    done.assert_outcomes(passed=1)


@pytest.mark.usefixtures("plugin_path")
def test_the_plugin_says_what_broke(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", fitcalc=TIGHT, wrong=TIGHT.replace("ttft_ms", "ttft"))
    pytester.makepyfile(
        """
        def test_tight(fitcalc_check):
            fitcalc_check("fitcalc.toml")

        def test_wrong(fitcalc_check):
            fitcalc_check("wrong.toml")
        """
    )
    done = run_pytest(pytester)
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["*misses its promise*", "*TTFT at p95 is*", "*wrong.toml line 3: *"])


@pytest.mark.usefixtures("plugin_path")
def test_the_plugin_imports_nothing_before_it_is_asked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_lazy():
            loaded = {name for name in sys.modules if name.startswith("fitcalc.")}
            assert loaded == {"fitcalc.pytest_plugin"}
            assert not {"pydantic", "numpy", "typer", "rich"} & set(sys.modules)
        """
    )
    run_pytest(pytester, "-p", "no:hypothesispytest").assert_outcomes(passed=1)


# ---- the documentation


def test_the_documented_file_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    path = tmp_path / "fitcalc.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    assert [one.name for one in read_scenarios(path).scenarios] == ["chat", "batch"]
