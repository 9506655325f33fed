"""A file of scenarios in CI: verdicts, what would pass, locks, and what changed since then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitcalc.answers import Limit
from fitcalc.errors import FitcalcError
from fitcalc.inputs.scenario_file import read_scenario
from fitcalc.planning.check import Check, check
from fitcalc.planning.check_file import check_file, lock_path, make_lock
from fitcalc.planning.lock import read_lock
from fitcalc.planning.relaxation import Relaxation
from fitcalc.planning.since import Kind

PINNED = """
model = "llama-3.1-8b"
[traffic]
qps = {qps}
isl = 1000
osl = 200
[slo]
ttft_ms = {ttft}
[engine]
max_num_seqs = 128
[deployment]
gpu = "h100"
replicas = 2
"""
PLANNED = """
model = "llama-3.1-8b"
[traffic]
qps = 40
isl = 1000
osl = 200
[plan]
gpus = ["h100", "l4"]
{limits}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "fitcalc.toml"
    path.write_text(text, encoding="utf-8")
    return path


def relaxed(path: Path) -> Check:
    return check(read_scenario(path), relax=True)


def with_change(text: str, one: Relaxation) -> str:
    """Write a relaxation's changes into a scenario of these tests."""
    for change in one.changes:
        name = change.field.partition(".")[2]
        head, _, rest = text.partition(f"{name} = ")
        assert rest, name
        text = f"{head}{name} = {change.needed:g}\n{rest.partition(chr(10))[2]}"
    return text


def test_every_relaxation_of_a_deployment_passes(tmp_path: Path) -> None:
    text = PINNED.format(qps=60, ttft=120)
    found = relaxed(written(tmp_path, text))
    assert not found.ok
    fields = {c.field for one in found.relaxations for c in one.changes}
    assert {"deployment.replicas", "traffic.qps"} <= fields
    for one in found.relaxations:
        assert one.factor is not None
        assert one.factor > 1
        assert check(read_scenario(written(tmp_path, with_change(text, one)))).ok
    factors = [one.factor for one in found.relaxations]
    assert factors == sorted(factors, key=lambda by: by or 0)


@pytest.mark.parametrize(
    ("limits", "field"),
    [("budget_usd_per_hour = 1", "plan.budget_usd_per_hour"), ("max_gpus = 1", "plan.max_gpus")],
)
def test_every_relaxation_of_a_plan_passes(tmp_path: Path, limits: str, field: str) -> None:
    text = PLANNED.format(limits=limits)
    found = relaxed(written(tmp_path, text))
    assert not found.ok
    assert found.misses
    least = next(one for one in found.relaxations if one.changes[0].field == field)
    assert check(read_scenario(written(tmp_path, with_change(text, least)))).ok
    needed = least.changes[0].needed
    assert isinstance(needed, float | int)
    tighter = least.model_copy(
        update={"changes": (least.changes[0].model_copy(update={"needed": needed * 0.9}),)}
    )
    if needed * 0.9 >= 1:
        name, less = field.partition(".")[2], needed * 0.9
        less = int(less) if name == "max_gpus" else less
        text = PLANNED.format(limits=f"{name} = {less}")
        assert not check(read_scenario(written(tmp_path, text))).ok, tighter


def test_a_latency_nobody_keeps_is_relaxed(tmp_path: Path) -> None:
    text = PLANNED.format(limits="[slo]\nttft_ms = 4")
    found = relaxed(written(tmp_path, text))
    assert found.failures[0].limit is Limit.TTFT
    first = found.relaxations[0]
    assert [change.field for change in first.changes] == ["slo.ttft_ms"]
    assert check(read_scenario(written(tmp_path, with_change(text, first)))).ok


def test_only_what_must_give_is_relaxed_together(tmp_path: Path) -> None:
    """Neither alone is enough; the first token need not wait longer, so it is not asked to."""
    text = PLANNED.format(limits="budget_usd_per_hour = 1\n[slo]\nitl_ms = 1\nttft_ms = 2000")
    (together,) = relaxed(written(tmp_path, text)).relaxations
    names = [change.field for change in together.changes]
    assert names == ["plan.budget_usd_per_hour", "slo.itl_ms"]
    assert check(read_scenario(written(tmp_path, with_change(text, together)))).ok
    for part in range(2):
        kept = together.model_copy(update={"changes": (together.changes[part],)})
        assert not check(read_scenario(written(tmp_path, with_change(text, kept)))).ok


def test_a_much_cheaper_change_is_offered_beside_the_least(tmp_path: Path) -> None:
    text = PLANNED.format(limits="[slo]\nitl_ms = 1.0")
    found = [
        one
        for one in relaxed(written(tmp_path, text)).relaxations
        if one.changes[0].field == "slo.itl_ms"
    ]
    assert len(found) == 2
    least, bargain = found
    assert least.usd_per_hour is not None
    assert bargain.usd_per_hour is not None
    assert bargain.usd_per_hour <= 0.5 * least.usd_per_hour
    assert check(read_scenario(written(tmp_path, with_change(text, bargain)))).ok


def test_what_a_choice_costs_is_budget_enough_as_it_is_shown(tmp_path: Path) -> None:
    text = PINNED.format(qps=4, ttft=500).replace("replicas = 2", "replicas = 96")
    cost = check(read_scenario(written(tmp_path, text))).served
    assert cost is not None
    assert cost.usd_per_hour is not None
    for budget, kept in ((cost.usd_per_hour, True), (cost.usd_per_hour - 0.01, False)):
        limited = f"{text}[plan]\nbudget_usd_per_hour = {budget:.2f}\n"
        assert check(read_scenario(written(tmp_path, limited))).ok is kept


def test_a_pinned_choice_over_two_limits_says_how_both_would_pass(tmp_path: Path) -> None:
    text = PINNED.format(qps=4, ttft=5).replace("replicas = 2", "replicas = 96")
    text += "[plan]\nbudget_usd_per_hour = 100\n"
    (both,) = (one for one in relaxed(written(tmp_path, text)).relaxations if len(one.changes) > 1)
    assert check(read_scenario(written(tmp_path, with_change(text, both)))).ok


def test_a_lost_answer_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, PLANNED.format(limits=""))
    lock_path(path).write_text(make_lock(path)[0].text(), encoding="utf-8")
    written(tmp_path, PLANNED.format(limits="max_gpus = 1"))
    since = check_file(path, baseline=lock_path(path), relax=False).since
    answers = [one for one in since if one.kind is Kind.ANSWER]
    assert [(one.what, one.now) for one in answers] == [("served by", None)]


def test_a_pinned_choice_is_held_to_budget_gpus_and_headroom(tmp_path: Path) -> None:
    head = PINNED.format(qps=4, ttft=500)
    limits = "[plan]\nbudget_usd_per_hour = 1\nmax_gpus = 1\n"
    found = check_file(written(tmp_path, head + limits), relax=False)
    assert {one.limit for one in found.failures} == {Limit.BUDGET, Limit.MAX_GPUS}
    assert {one.line for one in found.findings} == {15, 16}
    assert check_file(written(tmp_path, f"{head}[plan]\nheadroom = 0.2\n")).ok
    crowded = PINNED.format(qps=4, ttft=500) + "[plan]\nheadroom = 0.97\n"
    found = check_file(written(tmp_path, crowded), relax=False)
    assert "headroom of 97%" in found.failures[0].reason
    with pytest.raises(FitcalcError, match=r"line 12: deployment.gpu = 'h100'.* only l4"):
        check_file(written(tmp_path, f'{head}[plan]\ngpus = ["l4"]\n'))


@pytest.mark.parametrize(
    ("old", "new", "line", "named"),
    [
        ("llama-3.1-8b", "lama-3.1-8b", 2, "no model"),
        ('"h100"', '"h1000"', 8, "no gpu"),
        ("isl = 1000", 'isl = "200k"', 3, "tokens"),
        ("max_gpus = 9", 'cloud = "moon"', 9, "no cloud"),
        ("max_gpus = 9", 'cloud = "lambda"\nexclude_gpus = ["h100"]', 8, "not on sale"),
        ("max_gpus = 9", 'quantization = ["fp7"]', 9, "no format"),
    ],
)
def test_what_only_the_tables_know_is_said_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, named: str
) -> None:
    text = PLANNED.format(limits="max_gpus = 9")
    assert old in text
    with pytest.raises(FitcalcError, match=f"fitcalc.toml line {line}: .*{named}"):
        check_file(written(tmp_path, text.replace(old, new)))


def test_a_lock_holds_and_says_what_changed(tmp_path: Path) -> None:
    path = written(tmp_path, PINNED.format(qps=4, ttft=500))
    made, _ = make_lock(path)
    lock_path(path).write_text(made.text(), encoding="utf-8")
    again, _ = make_lock(path)
    assert again.text() == made.text() == lock_path(path).read_text(encoding="utf-8")
    assert read_lock(lock_path(path)) == made
    same = check_file(path, locked=True)
    assert same.ok
    assert same.since == ()
    assert "Nothing changed" in same.markdown()

    written(tmp_path, PINNED.format(qps=5, ttft=500))
    found = check_file(path, locked=True)
    assert not found.ok
    assert all(found.scenarios)
    assert found.findings[0].rule == "lock"
    question = [one for one in found.since if one.kind is Kind.QUESTION]
    assert [(one.what, one.before, one.now) for one in question] == [("traffic.qps", 4.0, 5.0)]
    assert {"served.utilization", "utilization"} & {one.what for one in found.since}
    assert check_file(path, baseline=lock_path(path)).ok
    assert "traffic.qps: 4 -> 5" in found.markdown()


def test_tables_that_changed_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, PINNED.format(qps=4, ttft=500))
    made, _ = make_lock(path)
    old = made.model_copy(update={"made_with": {**made.made_with, "prices": "0" * 12}})
    lock_path(path).write_text(old.text(), encoding="utf-8")
    found = check_file(path, locked=True)
    assert found.ok
    assert [(one.kind, one.what) for one in found.since] == [(Kind.TABLES, "prices")]
    assert "the tables of prices changed (000000000000 -> " in found.markdown()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"best": 3}', '{"lock": 2, "scenarios": {}}'])
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.lock"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FitcalcError, match="fitcalc lock wrote"):
        read_lock(path)


def test_scenarios_come_and_go(tmp_path: Path) -> None:
    one = PINNED.format(qps=4, ttft=500)
    path = written(tmp_path, f"{one}[scenario.a]\n[scenario.b.traffic]\nqps = 5\n")
    made, checks = make_lock(path)
    assert [one.name for one in checks] == ["a", "b"]
    lock_path(path).write_text(made.text(), encoding="utf-8")
    written(tmp_path, f"{one}[scenario.a]\n[scenario.c.traffic]\nqps = 5\n")
    found = check_file(path, locked=True)
    assert {(x.scenario, x.before, x.now) for x in found.since} == {
        ("b", "asked", None),
        ("c", None, "asked"),
    }
    assert check_file(path, scenarios=["a"], locked=True).ok
    assert json.loads(made.text())["scenarios"]["a"]["ok"] is True
