"""A scenario file is read strictly; what is wrong is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.errors import InvalidValue, MistakeInFile, UnknownName
from fitcalc.inputs.context import request_length
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.scenario_file import read_scenario, read_scenarios

GOOD = """
[model]
name = "70b"

[traffic]
qps = 20
ctx = "8k"

[slo]
ttft_ms = 1500

[engine]
tensor_parallel_size = 4

[deployment]
gpu = "h100"
replicas = 16
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "fitcalc.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_deployment_is_read(tmp_path: Path) -> None:
    asked = read_scenario(written(tmp_path, GOOD))
    assert (asked.model, asked.traffic.qps, asked.slo.ttft_ms) == ("70b", 20, 1500)
    assert (asked.traffic.isl.mean, asked.traffic.osl.mean) == (7168, 1024)
    assert asked.engine.max_model_len == 8192
    assert asked.deployment is not None
    assert (asked.deployment.gpu, asked.deployment.replicas) == ("h100", 16)
    assert asked.plan is None


def test_a_length_may_be_a_distribution(tmp_path: Path) -> None:
    text = GOOD.replace(
        'ctx = "8k"', 'isl = { kind = "lognormal", average = 900, cv = 1.2 }\nosl = "1k"'
    )
    traffic = read_scenario(written(tmp_path, text)).traffic
    assert traffic.isl == Lengths.lognormal(900, 1.2)
    assert traffic.osl == Lengths.fixed(1024)


def test_limits_of_a_plan_are_read(tmp_path: Path) -> None:
    head, _ = GOOD.split("[deployment]")
    asked = read_scenario(written(tmp_path, f'{head}[plan]\nmax_gpus = 64\ngpus = ["h100"]\n'))
    assert asked.plan is not None
    assert (asked.plan.max_gpus, asked.plan.gpus) == (64, ("h100",))


@pytest.mark.parametrize(
    ("old", "new", "line", "named"),
    [
        ("qps = 20", "qps = 20\nconcurrency = 4", 7, "concurrency"),
        ("qps = 20", "qps = nan", 6, "traffic.qps"),
        ("qps = 20", 'qps = "20/fortnight"', 6, "20/fortnight"),
        ("qps = 20", "qqps = 20", 6, "use qps"),
        ('ctx = "8k"', 'ctx = "8x"', 7, "traffic.ctx"),
        ('ctx = "8k"', "isl = { kind = 'uniform', low = 9, high = 3 }\nosl = 1", 5, "high"),
        ('ctx = "8k"', "isl = { kind = 'uniform', low = 1, high = 3 }", 5, "osl"),
        ("ttft_ms = 1500", "ttft_ms = -1", 10, "slo.ttft_ms"),
        ("ttft_ms = 1500", 'ttft_ms = "2 parsecs"', 10, "2s"),
        ("ttft_ms = 1500", "ttft = 1500", 10, "use ttft_ms"),
        ("tensor_parallel_size = 4", "tensor_parallel = 4", 13, "use tensor_parallel_size"),
        ("replicas = 16", "replicas = 0", 17, "deployment.replicas"),
        ("[deployment]", "[deploymnt]", 15, "deploymnt"),
        ('[deployment]\ngpu = "h100"\nreplicas = 16', "", 1, "deployment"),
        ('name = "70b"', "name = 70", 3, "model.name"),
        ('name = "70b"', 'hf_id = "70b"', 2, "hf_id"),
        ("[slo]", "[slo", 9, "TOML"),
        ('[model]\nname = "70b"', "model = ['70b']", 2, "model.name"),
        ("[traffic]\nqps = 20\nctx", "traffic = 3\n[engin]\nctx", 6, "engin"),
        ("[traffic]\nqps = 20\nctx", "[scenario]\n[oops]\nctx", 5, "scenario"),
    ],
)
def test_a_mistake_names_the_line_and_the_field(
    tmp_path: Path, old: str, new: str, line: int, named: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(MistakeInFile, match=named.replace("[", r"\[")) as raised:
        read_scenario(path)
    assert str(raised.value).startswith(f"{path} line {line}: ")
    assert "\n" not in str(raised.value)


SEVERAL = """
model = "70b"

[traffic]
qps = "20/s"
ctx = "8k"

[plan]
gpus = ["h100"]

[scenario.day]

[scenario."at night"]
model = "llama-3.1-8b"
traffic = { concurrency = 8, isl = 100, osl = 50 }
[scenario."at night".plan]
budget_usd_per_hour = 9
"""


def test_scenarios_share_what_stands_outside(tmp_path: Path) -> None:
    path = written(tmp_path, SEVERAL)
    file = read_scenarios(path)
    day, night = file.scenarios
    assert [(one.name, one.line) for one in file.scenarios] == [("day", 11), ("at night", 13)]
    assert (day.asked.model, night.asked.model) == ("70b", "llama-3.1-8b")
    assert (day.asked.traffic.qps, night.asked.traffic.qps) == (20, None)
    assert (night.asked.traffic.concurrency, night.asked.traffic.osl.mean) == (8, 50)
    assert night.asked.plan is not None
    assert (night.asked.plan.gpus, night.asked.plan.budget_usd_per_hour) == (("h100",), 9)
    assert file.only(["at night"]) == (night,)
    with pytest.raises(UnknownName, match="at night"):
        file.only(["night"])
    with pytest.raises(InvalidValue, match="several"):
        read_scenario(path)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidValue("cloud", "x", "y"), 16),
        (InvalidValue("osl", "x", "y"), 15),
        (InvalidValue("budget", "x", "y"), 17),
        (UnknownName("gpu", "h1000", ["h100"]), 9),
        (UnknownName("model", "x", ["70b"]), 14),
    ],
)
def test_a_later_complaint_finds_its_line(tmp_path: Path, error: ValueError, line: int) -> None:
    file = read_scenarios(written(tmp_path, SEVERAL))
    assert isinstance(error, InvalidValue | UnknownName)
    assert file.mistake("at night", error).line == line


def test_a_pinned_choice_may_have_limits(tmp_path: Path) -> None:
    asked = read_scenario(written(tmp_path, f"{GOOD}[plan]\nmax_gpus = 64\n"))
    assert asked.deployment is not None
    assert asked.plan is not None


def test_a_mark_of_byte_order_and_of_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "fitcalc.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.lstrip().replace("\n", "\r\n").encode())
    assert read_scenario(path) == read_scenario(written(tmp_path, GOOD))


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_misses_its_model(tmp_path: Path, text: str) -> None:
    with pytest.raises(MistakeInFile, match="line 1: model is missing"):
        read_scenario(written(tmp_path, text))


def test_what_is_no_small_text_file_is_refused(tmp_path: Path) -> None:
    big, binary, deep = tmp_path / "big", tmp_path / "binary", tmp_path / "deep"
    big.write_bytes(b"#" * (2**20 + 1))
    binary.write_bytes(bytes(range(256)))
    deep.write_text("a = " + "[" * 100_000)
    for path in (big, binary, deep, tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidValue, match="scenario"):
            read_scenario(path)


@given(ctx=st.integers(2, 10**7))
def test_a_context_alone_is_split_whole(ctx: int) -> None:
    found = request_length(ctx, None, None)
    assert found.isl + found.osl == found.longest == ctx
    assert found.isl >= found.osl >= 1
    assert found.note


@given(isl=st.integers(1, 10**6), osl=st.integers(1, 10**6))
def test_any_two_lengths_give_the_third(isl: int, osl: int) -> None:
    whole = request_length(None, isl, osl)
    assert whole == request_length(isl + osl, isl, None) == request_length(isl + osl, None, osl)
    assert (whole.longest, whole.note) == (isl + osl, "")
