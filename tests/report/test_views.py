"""Views say what the answer holds, at every width."""

from __future__ import annotations

import shlex
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from fitcalc.answers import Limit, Rejection
from fitcalc.inputs.slo import Slo
from fitcalc.planning.check import check
from fitcalc.planning.missed import missed
from fitcalc.report.check_view import check_view
from fitcalc.report.configuration_view import configuration_view
from fitcalc.report.lost import lost_groups
from fitcalc.report.markdown import plan_markdown
from fitcalc.report.plan_view import plan_view, shell_lines
from fitcalc.report.words import amount, layout
from tests.samples import BEST, ENGINE, LOST, MEMORY, NOTHING, PLAN, PREDICTION, QUESTION


def printed(view: RenderableType, width: int = 100) -> str:
    out = StringIO()
    Console(file=out, width=width).print(view, crop=False)
    return out.getvalue()


def test_the_first_line_says_what_to_buy() -> None:
    first = printed(plan_view(PLAN)).splitlines()[0]
    assert first == "64 x NVIDIA H100 SXM 80GB for $192.00 an hour: 16 vLLM servers of 4 GPUs"


def test_a_plan_says_why_what_it_feels_like_and_what_lost() -> None:
    text = " ".join(printed(plan_view(PLAN, "a note"), 300).split())
    for words in (
        "next is 48 x NVIDIA H200 SXM 141GB at $216.00 an hour (+12 %)",
        "What binds is arithmetic",
        "p95 <= 2,000 ms kept",
        "$2.60 per million output tokens",
        "measured: fitted to kernels measured on this GPU",
        "first token too late",
        "weights are quantized while loading",
        "a note",
        "any of 4 GPU types",
        "first token within 2,000 ms",
    ):
        assert words in text


def test_a_missed_promise_is_called_missed() -> None:
    question = QUESTION.model_copy(update={"slo": Slo(ttft_ms=1000)})
    assert "p95 <= 1,000 ms missed" in printed(
        plan_view(PLAN.model_copy(update={"question": question})), 300
    )


def test_nothing_fits_leads_with_the_closest() -> None:
    text = printed(plan_view(NOTHING), 300)
    assert text.startswith("Nothing fits. Closest: NVIDIA L40S")
    assert "needs 2,600 ms, has 2,000 ms" in text


def test_what_lost_is_grouped_and_names_the_nearest() -> None:
    first, second = lost_groups(PLAN)
    assert (first.limit, first.cases, first.gpus) == (Limit.MEMORY, 2, 2)
    assert first.closest is LOST[1]
    assert second.limit is Limit.TTFT


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_every_width_holds_the_answer(width: int) -> None:
    lines = printed(plan_view(PLAN, "", width), width).splitlines()
    prose = [line for line in lines if "--" not in line and "vllm serve" not in line]
    assert max(map(len, prose)) <= width
    command = " ".join(line.removesuffix("\\") for line in lines if line not in prose)
    assert BEST.vllm_command.split()[-1] in command


@given(width=st.integers(10, 400))
def test_a_broken_command_is_the_same_command(width: int) -> None:
    lines = shell_lines(BEST.vllm_command, width)
    assert shlex.split(lines.replace("\\\n", " ")) == shlex.split(BEST.vllm_command)


def test_markdown_tables_have_as_many_cells_as_columns() -> None:
    for plan in (PLAN, NOTHING):
        rows = [line for line in plan_markdown(plan).splitlines() if line.startswith("|")]
        tables = "\n".join(rows).split("| ---")
        assert rows
        assert all(row.count("|") >= 3 for row in rows)
        assert len(tables) >= 2


def test_one_configuration_is_shown_whole() -> None:
    ledger, prediction = (
        printed(configuration_view(MEMORY)),
        printed(configuration_view(PREDICTION)),
    )
    assert "177.0 requests of 8,192 tokens" in " ".join(ledger.split())
    assert "The server keeps up." in prediction
    no = Rejection(limit=Limit.MEMORY, needed=2.0**35, available=2.0**34, reason="buy more")
    assert "needs 32.0 GiB, has 16.0 GiB" in printed(configuration_view(no))


def test_the_ledger_bars_are_in_proportion() -> None:
    lines = printed(configuration_view(MEMORY)).splitlines()
    bars = {line.split("  ")[0].strip(): line.count("#") for line in lines if "#" in line}
    assert bars["KV cache"] > bars["weights"] > bars["CUDA graphs"] >= 1


def test_a_plan_that_was_made_can_be_checked() -> None:
    good, bad = check(PLAN), check(NOTHING)
    assert (bool(good), bool(bad)) == (True, False)
    assert bad.failures[0].limit is Limit.TTFT
    assert "| 2,000 ms | 30 % | the nearest, l40s TP1 bf16: ttft by hand. |" in bad.markdown()
    assert "keeps its promise" in printed(check_view(good))
    assert "misses its promise" in printed(check_view(bad))


def test_a_latency_over_its_limit_is_a_failure_with_both_numbers() -> None:
    assert missed(PREDICTION, Slo()) == ()
    (failure,) = missed(PREDICTION, Slo(ttft_ms=1000))
    assert (failure.limit, failure.needed, failure.available) == (Limit.TTFT, 1420, 1000)


def test_replicas_share_the_load_evenly() -> None:
    assert QUESTION.traffic.share(16).qps == 1.25
    clients = QUESTION.traffic.replace(qps=None, concurrency=10)
    assert clients.share(4).concurrency == 3


def test_layouts_and_amounts_read_as_people_write_them() -> None:
    wide = ENGINE.replace(data_parallel_size=2, enable_expert_parallel=True)
    assert layout(wide) == "TP4 x DP2 + EP"
    assert amount(Limit.BUDGET, 12.5) == "$12.50/h"
    assert amount(Limit.DIVISIBILITY, 12) == "12"
