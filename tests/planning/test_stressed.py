"""What a scenario file asks to survive: of a plan, and of a pinned choice alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcalc.errors import MistakeInFile
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.scenario_file import read_scenario
from fitcalc.planning.check import Check, check
from fitcalc.planning.check_file import check_file
from fitcalc.planning.plan import plan

ASKED = """
model = "llama-3.1-8b"
[traffic]
qps = 60
isl = 1000
osl = 200
[plan]
gpus = ["h100", "rtx_4090"]
quantization = ["bf16"]
{survives}
"""
SURVIVES = (
    "headroom = '20%'",
    "growth = '10%/month'\nhorizon = 6",
    "spare = 1",
    "confidence = '90%'",
    "peak_minute = true",
    "rates = 'day'",
    "rates = 'day'\nspare = 2\nconfidence = 0.8\ngrowth = '5%/month'\nhorizon = 12\nheadroom = 0.1",
)


def read(folder: Path, survives: str, more: str = "") -> Check:
    path = folder / "fitcalc.toml"
    path.write_text(ASKED.format(survives=survives) + more, encoding="utf-8")
    return check(read_scenario(path))


@pytest.mark.parametrize("survives", SURVIVES)
def test_what_a_plan_chose_passes_when_it_is_pinned(tmp_path: Path, survives: str) -> None:
    """A plan and a pinned choice are held to the same: the plan passes, half of it does not."""
    chosen = read(tmp_path, survives).served
    assert chosen is not None
    settings = "\n".join(
        f"{'quantization' if name == 'weight_format' else name} = {value!r}"
        for name, value in chosen.settings.items()
        if name != "data_parallel_size"
    )
    pinned = f"[engine]\n{settings}\n[deployment]\ngpu = 'h100'\nreplicas = "
    assert read(tmp_path, survives, f"{pinned}{chosen.replicas}").ok
    less = read(tmp_path, survives, f"{pinned}{max(1, chosen.replicas // 2)}")
    assert not less.ok


def test_a_file_asks_what_python_asks(tmp_path: Path) -> None:
    path = tmp_path / "fitcalc.toml"
    path.write_text(ASKED.format(survives=SURVIVES[-1]), encoding="utf-8")
    asked = read_scenario(path)
    assert asked.plan is not None
    assert asked.plan.risk == Risk(spare=2, confidence=0.8, growth=0.05, horizon=12)
    made = plan(
        "llama-3.1-8b",
        asked.traffic,
        gpus=["h100"],
        quantization=["bf16"],
        headroom=0.1,
        risk=asked.plan.risk,
        rates="day",
    )
    found = check(asked).served
    assert made.best is not None
    assert found is not None
    assert (found.replicas, found.usd_per_hour) == (made.best.replicas, made.best.usd_per_hour)


def test_a_lost_server_needs_another(tmp_path: Path) -> None:
    found = read(tmp_path, "spare = 9", "[deployment]\ngpu = 'h100'\nreplicas = 9")
    assert [(one.needed, one.available) for one in found.failures] == [(10, 9)]


@pytest.mark.parametrize(
    ("survives", "line", "says"),
    [
        ("horizon = 6", 10, "give growth too"),
        ("growth = 'x'", 10, "20%/month"),
        ("growth = '1000%/month'\nhorizon = 99", 10, "lower growth or horizon"),
        ("horizon = 1e9", 10, "less than or equal to 120"),
        ("min_replicas = 2", 10, "beside rates"),
        ("rates = 'no.csv'", 10, "cannot be read"),
        ("cloud = 'aws'\n[deployment]\ngpu = 'rtx_4090'", 12, "not on sale"),
        ("peak_minute = true\nheadroom = 0.2", 10, "either headroom or peak_minute"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, survives: str, line: int, says: str
) -> None:
    path = tmp_path / "fitcalc.toml"
    path.write_text(ASKED.format(survives=survives), encoding="utf-8")
    with pytest.raises(MistakeInFile, match=says) as caught:
        check_file(path)
    assert caught.value.line == line
