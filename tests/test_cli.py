"""The command line: exit codes, one sentence for every mistake, JSON and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fitcalc.cli.main import run

ASK = ["plan", "--model", "70b", "--ctx", "8k", "--qps", "20"]
ON_H100 = ["--gpu", "h100", "--quantization", "fp8"]


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run one command line in this process."""
    code = run(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def changed(option: str, value: str) -> list[str]:
    """Ask the usual question with one option changed."""
    words = list(ASK)
    if option in words:
        words[words.index(option) + 1] = value
        return words
    return [*words, option, value]


# ---- answers


def test_a_plan_is_one_json_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, *ASK, *ON_H100, "--json")
    plan = json.loads(out)
    assert (code, err) == (0, "")
    assert set(plan) >= {"question", "best", "alternatives", "rejections"}
    assert set(plan["best"]) >= {
        "gpu", "gpu_count", "replicas", "engine", "prediction", "memory", "usd_per_hour",
        "usd_per_million_output_tokens", "usd_per_million_tokens", "vllm_command", "headroom",
        "notes",
    }  # fmt: skip
    assert {"isl", "osl"} <= set(plan["question"]["defaults"])


def test_a_plan_says_what_to_buy_on_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, *ASK, *ON_H100)
    first = out.splitlines()[0]
    assert (code, err) == (0, "")
    assert "x NVIDIA H100" in first
    assert "an hour" in first
    assert "vllm serve" in out
    assert "split 7:1 into isl 7,168 and osl 1,024" in " ".join(out.split())


def test_markdown_holds_the_command_in_a_fence(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *ASK, *ON_H100, "--markdown")
    assert code == 0
    assert "```sh\nvllm serve " in out


def test_a_plan_says_what_each_server_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    risk = ["--spare", "1", "--confidence", "0.9", "--growth", "20%/month", "--horizon", "6"]
    code, out, _ = answer(capsys, *ASK, *ON_H100, *risk)
    assert code == 0
    for words in ("traffic alone", "+ headroom", "+ confidence", "+ growth", "+ spare", "lost"):
        assert words in out
    plan = json.loads(answer(capsys, *ASK, *ON_H100, *risk, "--json")[1])
    added = sum(row["replicas"] for row in plan["margins"]["reasons"])
    assert added == plan["best"]["replicas"]
    assert plan["best"]["confidence"] >= 0.9


def test_a_plan_follows_the_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = json.loads(answer(capsys, *ASK, *ON_H100, "--rates", "day", "--json")[1])["day"]
    assert sum(hour["requests"] for hour in day["hours"]) == pytest.approx(20 * 86_400)
    assert day["scaled"]["usd"] < day["static"]["usd"]
    file = tmp_path / "rates.csv"
    file.write_text("time_s,rate\n0,2\n3600,10\n")
    asked = ["plan", "--model", "70b", "--ctx", "8k", *ON_H100, "--rates", str(file)]
    code, out, _ = answer(capsys, *asked, "--cold-start", "2min", "--markdown")
    assert code == 0
    assert "| 01:00 | 36,000 | 10 |" in out
    assert "a new one takes 2.0 min." in out


def test_nothing_fits_is_exit_1_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *ASK, "--max-gpus", "1", "--no-relax")
    assert code == 1
    assert out.startswith("Nothing fits. Closest: ")
    code, out, _ = answer(capsys, *ASK, "--max-gpus", "1", "--no-relax", "--json")
    plan = json.loads(out)
    assert (code, plan["best"]) == (1, None)
    assert plan["closest"]["needed"] != plan["closest"]["available"]


def test_where_nothing_fits_a_plan_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*ASK, *ON_H100, "--budget", "30"]
    code, out, _ = answer(capsys, *words)
    assert code == 1
    assert "What would pass:" in out
    assert "--budget 30 -> " in out
    code, out, _ = answer(capsys, *words, "--json")
    changes = [one["changes"][0] for one in json.loads(out)["relaxations"]]
    needed = {one["field"]: one["needed"] for one in changes}
    assert {"plan.budget_usd_per_hour", "traffic.qps"} <= set(needed)
    assert answer(capsys, *words[:-1], f"{needed['plan.budget_usd_per_hour']}")[0] == 0
    code, out, _ = answer(capsys, *words, "--markdown", "--no-relax")
    assert (code, "What would pass" in out) == (1, False)


def test_fit_fills_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "fit", "--model", "llama-3.1-8b", "--gpu", "h100", "--json")
    ledger = json.loads(out)
    parts = ("weights", "activation", "non_torch", "cuda_graph", "kv_cache", "unused")
    total = sum(ledger[f"{part}_bytes"] for part in parts)
    assert code == 0
    assert total == pytest.approx(ledger["gpu_memory_bytes"])


def test_fit_says_no_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("fit", "--model", "70b", "--gpu", "4090")
    code, out, err = answer(capsys, *words)
    assert (code, err) == (1, "")
    assert "too little memory: needs" in out
    code, out, _ = answer(capsys, *words, "--json")
    assert code == 1
    assert set(json.loads(out)) == {"limit", "needed", "available", "reason"}


def test_predict_takes_vllms_flags(capsys: pytest.CaptureFixture[str]) -> None:
    load = ("--isl", "1000", "--osl", "200", "--qps", "2", "--json")
    where = ("--model", "llama-3.1-8b", "--gpu", "h100", "--max-num-seqs", "64", "-tp", "1")
    code, out, _ = answer(capsys, "predict", *where, *load)
    assert code == 0
    assert json.loads(out)["stable"]


def test_predict_says_which_loop_its_closed_form_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("predict", "--model", "8b", "--gpu", "h100", "--isl", "500", "--osl", "50")
    loop = (*words, "--concurrency", "4")
    assert "steady state" in answer(capsys, *loop)[1]
    assert "steady state" not in answer(capsys, *loop, "--num-requests", "40")[1]
    assert "steady state" not in answer(capsys, *words, "--qps", "1")[1]


def test_one_gpu_is_shown_with_units_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "gpus", "h200", "--json")
    figures = json.loads(out)["figures"]
    assert code == 0
    assert figures
    assert all(figure["unit"] and figure["source"] for figure in figures)
    _, text, _ = answer(capsys, "gpus", "h200")
    assert "GB/s" in text


def test_a_part_of_a_name_lists(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = answer(capsys, "gpus", "rtx", "--json")
    assert "rtx_4090" in {gpu["id"] for gpu in json.loads(out)["gpus"]}
    _, out, _ = answer(capsys, "models", "qwen3", "--json")
    assert "qwen3-32b" in {model["id"] for model in json.loads(out)["models"]}


def test_one_model_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "models", "llama-3.1-70b", "--json")
    # 80 layers x 2 (key, value) x 8 heads x 128 x 2 bytes
    assert (code, json.loads(out)["kv_bytes_per_token"]) == (0, 327_680)
    _, text, _ = answer(capsys, "models", "qwen3-32b")
    assert "64 x full attention" in text


def test_an_explanation_shows_equations_numbers_and_knobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--model", "llama-3.1-8b", "--gpu", "h100", "--ctx", "4k", "--qps", "2")
    code, out, _ = answer(capsys, "explain", *where)
    assert code == 0
    assert "length-biased mean" in out
    assert "quantization fp8" in out
    code, out, _ = answer(capsys, "explain", *where, "--json")
    explained = json.loads(out)
    assert code == 0
    assert sum(explained["shares"].values()) == pytest.approx(1.0)
    assert {"name", "equation", "numbers", "value", "unit", "source"} == set(explained["lines"][0])


def test_a_simulation_counts_its_requests(capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--model", "llama-3.1-8b", "--gpu", "h100", "--replicas", "2")
    load = ("--isl", "500", "--osl", "50", "--qps", "8", "--num-requests", "100")
    code, out, _ = answer(capsys, "simulate", *where, *load, "--json")
    assert code == 0
    assert json.loads(out)["num_requests"] == 100
    code, out, _ = answer(capsys, "simulate", *where, *load)
    assert code == 0
    assert "100 requests on 2 servers" in out


def test_a_trace_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "day.csv"
    rows = "".join(f"{i * 0.5},{400 + i},20\n" for i in range(50))
    trace.write_text(f"timestamp,input_length,output_length\n{rows}", encoding="utf-8")
    where = ("--model", "llama-3.1-8b", "--gpu", "h100", "--trace", str(trace))
    code, out, err = answer(capsys, "simulate", *where, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["num_requests"] == 50
    code, out, err = answer(capsys, "simulate", *where, "--qps", "3")
    assert (code, out) == (2, "")
    assert "without qps" in err


# ---- tables


@pytest.mark.parametrize("width", ["50", "120"])
def test_lists_name_every_row(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for words, key in ((("gpus",), "gpus"), (("models", "gemma"), "models")):
        _, out, _ = answer(capsys, *words, "--json")
        ids = [row["id"] for row in json.loads(out)[key]]
        code, text, _ = answer(capsys, *words)
        joined = "".join(text.split())
        assert code == 0
        assert len(ids) >= 2
        if width == "120":
            assert all(name in joined for name in ids)
        assert max(map(len, text.splitlines())) <= int(width)


def test_a_gpu_without_offers_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = answer(capsys, "gpus", "--json")
    unpriced = [gpu["id"] for gpu in json.loads(out)["gpus"] if gpu["usd_per_gpu_hour"] is None]
    code, text, _ = answer(capsys, "gpus", unpriced[0])
    assert code == 0
    assert "No price is known." in text


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("deepseek-r1", "MLA 512 + 64, 8 of 256 experts"),
        ("gpt-oss-20b", "sliding attention within 128, 8 KV heads of 64, 4 of 32 experts"),
        ("qwen3-next-80b-a3b", "gdn state"),
    ],
)
def test_the_kinds_of_layers_are_told_apart(
    model: str, layers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, text, _ = answer(capsys, "models", model)
    assert code == 0
    assert layers in text


# ---- checks

SCENARIO = """
model = "llama-3.1-8b"
[traffic]
qps = 4
isl = 1000
osl = 200
[slo]
ttft_ms = {ttft}
"""
DEPLOYED = '[engine]\nmax_num_seqs = 128\n[deployment]\ngpu = "h100"\nreplicas = 2\n'
PLANNED = '[plan]\ngpus = ["h100", "l4"]\nmax_gpus = {most}\n'


@pytest.mark.parametrize(
    ("text", "code", "limit"),
    [
        (SCENARIO.format(ttft=500) + DEPLOYED, 0, None),
        (SCENARIO.format(ttft=5) + DEPLOYED, 1, "ttft"),
        (SCENARIO.format(ttft=500).replace("qps = 4", "qps = 900") + DEPLOYED, 1, "saturation"),
        (SCENARIO.format(ttft=500) + PLANNED.format(most=8), 0, None),
        (SCENARIO.format(ttft=500).replace("qps = 4", "qps = 900") + PLANNED.format(most=1), 1, ""),
    ],
)
def test_a_check_is_0_or_1_with_the_limit_missed(
    text: str, code: int, limit: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "fitcalc.toml"
    scenario.write_text(text, encoding="utf-8")
    found, out, err = answer(capsys, "check", str(scenario), "--json")
    verdict = json.loads(out)
    assert (found, err, verdict["ok"]) == (code, "", code == 0)
    assert [f["limit"] for f in verdict["failures"] if limit] == ([limit] if limit else [])
    assert all(f["needed"] > f["available"] for f in verdict["failures"])
    _, comment, _ = answer(capsys, "check", str(scenario), "--markdown")
    assert comment.startswith("**fitcalc:** ")
    found, text, _ = answer(capsys, "check", str(scenario))
    assert found == code
    assert ("keeps its promise" if code == 0 else "misses its promise") in " ".join(text.split())


def test_a_broken_scenario_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "fitcalc.toml"
    scenario.write_text("[traffic\nqps = 3", encoding="utf-8")
    code, out, err = answer(capsys, "check", str(scenario))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "TOML" in err


# ---- wrong questions

WRONG = [
    (changed("--model", "lama-3.1-70b"), "llama-3.1-70b"),
    (changed("--gpu", "h1000"), "h100"),
    (changed("--exclude-gpu", "nope"), "nope"),
    (changed("--quantization", "fp7"), "fp7"),
    (changed("--kv-cache-dtype", "fp7"), "fp7"),
    (changed("--cloud", "moon"), "moon"),
    (changed("--qps", "-1"), "qps"),
    (changed("--qps", "0"), "qps"),
    (changed("--qps", "nan"), "qps"),
    (changed("--qps", "inf"), "qps"),
    (changed("--qps", "1e30"), "qps"),
    (changed("--qps", "many"), "qps"),
    (changed("--ctx", "0"), "ctx"),
    (changed("--ctx", "-8k"), "ctx"),
    (changed("--ctx", "8kk"), "ctx"),
    (changed("--ctx", "1"), "isl"),
    (changed("--ctx", "1e30"), "ctx"),
    (changed("--ctx", "200k"), "131,072"),
    ([*ASK, "--isl", "9k"], "osl"),
    ([*ASK, "--isl", "8k", "--osl", "8k"], "ctx"),
    ([*ASK, "--concurrency", "8"], "qps"),
    ([*ASK, "--isl", "0"], "isl"),
    (changed("--ttft", "0"), "ttft"),
    (changed("--itl", "nan"), "itl"),
    (changed("--e2e", "-5"), "e2e"),
    (changed("--percentile", "100"), "percentile"),
    (changed("--headroom", "1"), "headroom"),
    (changed("--headroom", "nan"), "headroom"),
    (changed("--max-gpus", "0"), "max_gpus"),
    (changed("--budget", "nan"), "budget"),
    (changed("--budget", "-1"), "budget"),
    (changed("--prefix-hit", "1.5"), "prefix_hit"),
    (changed("--gpu-memory-utilization", "2"), "gpu_memory_utilization"),
    (changed("--vllm-version", "0.1"), "version"),
    (changed("--top", "0"), "top"),
    ([*ASK, "--json", "--markdown"], "--markdown"),
    ([*ASK, "--no-such-option"], "--no-such-option"),
    ([*ASK, "word"], "word"),
    (["plan", "--qps", "20", "--ctx", "8k"], "--model"),
    (["plan", "--model", "70b", "--ctx", "8k"], "qps"),
    (["plan", "--model", "70b", "--qps", "20"], "ctx"),
    (["plam"], "plan"),
    (["fit", "--model", "70b", "--gpu", "h100", "--tp", "0"], "tensor_parallel_size"),
    (["fit", "--model", "70b", "--gpu", "h100", "--max-model-len", "nan"], "max_model_len"),
    (["gpus", "zzzzzz"], "zzzzzz"),
    (["models", "zzzzzz"], "zzzzzz"),
    (["check", "/no/such/fitcalc.toml"], "fitcalc.toml"),
]


@pytest.mark.parametrize(
    ("words", "named"), WRONG, ids=[" ".join(words)[-40:] for words, _ in WRONG]
)
def test_a_wrong_question_is_exit_2_and_one_sentence(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert named in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [[*ASK, "--gpu", "h1000"], [*ASK, "--qps", "x"]])
def test_mistakes_stay_off_stdout_under_json(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(capsys, *words, "--json")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


BROKEN_CONFIGS = {
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "cut": b'{"architectures": ["LlamaForCausalLM"], ',
    "list": b"[1, 2, 3]",
    "number": b"7",
    "deep": b'{"a":' * 200_000,
    "no_keys": b"{}",
    "unknown_architecture": b'{"architectures": ["NoSuchForCausalLM"], "model_type": "nosuch"}',
    "negative": b'{"architectures": ["LlamaForCausalLM"], "hidden_size": -1}',
    "words": b'{"architectures": ["LlamaForCausalLM"], "hidden_size": "big"}',
}


@pytest.mark.parametrize("kind", BROKEN_CONFIGS)
def test_a_broken_config_is_exit_2(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(BROKEN_CONFIGS[kind])
    code, out, err = answer(capsys, *changed("--model", str(config)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_config_that_is_a_folder_without_one_is_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").mkdir()
    for path in (tmp_path, tmp_path / "config.json"):
        code, out, err = answer(capsys, *changed("--model", str(path)))
        assert (code, out, err.count("\n")) == (2, "", 1)


# ---- how a run ends


def test_a_mistake_of_fitcalc_is_no_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str | None) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("fitcalc.report.gpu_view.answer", fail)
    code, out, err = answer(capsys, "gpus")
    assert (code, out, err.count("\n")) == (70, "", 1)
    assert "mistake of fitcalc" in err


def fitcalc(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fitcalc", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_loads_neither_tables_nor_numbers() -> None:
    heavy = "{'numpy', 'pydantic', 'scipy', 'streamlit', 'fitcalc.planning'}"
    code = (
        "import sys; from fitcalc.cli.main import run; run(['--help']);"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fitcalc", "models", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_an_interrupt_ends_quietly() -> None:
    code = "import signal, os\nfrom fitcalc.cli import main, tables\n"
    code += "tables.gpus = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
    code += "raise SystemExit(main.run(['gpus']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, b"")


@pytest.mark.parametrize("width", [40, 100])
def test_a_narrow_or_colourless_terminal_gets_the_whole_answer(width: int) -> None:
    done = fitcalc(*ASK, *ON_H100, COLUMNS=str(width), NO_COLOR="1")
    flags = [line for line in done.stdout.splitlines() if "--" in line or "vllm serve" in line]
    others = [line for line in done.stdout.splitlines() if line not in flags]
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert max(map(len, others)) <= width
    assert "tensor-parallel-size" in done.stdout


def test_the_pareto_front_is_told_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*ASK, *ON_H100, "--pareto")
    code, out, _ = answer(capsys, *asked, "--json")
    front = json.loads(out)["pareto"]
    assert code == 0
    assert front[0]["usd_per_hour"] <= front[-1]["usd_per_hour"]
    for shown in ((), ("--markdown",)):
        _, out, _ = answer(capsys, *asked, *shown)
        for point in front:
            assert f"${point['usd_per_hour']:,.2f}" in out
        assert "fewest servers that keep the promise" in out


def test_sensitivity_is_told_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*ASK, *ON_H100, "--sensitivity")
    code, out, _ = answer(capsys, *asked, "--json")
    found = json.loads(out)["sensitivity"]
    assert code == 0
    assert found["share"] == 0.2
    for shown in ((), ("--markdown",)):
        _, out, _ = answer(capsys, *asked, *shown)
        for words in ("input length", "output length", "rate", "efficiency", "GPU's price"):
            assert words in out
        assert f"{found['base']['gpu_count']} GPU" in out


def test_answers_of_one_token_show_no_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    server = ["--model", "8b", "--gpu", "h100", "--isl", "2000", "--qps", "5"]
    code, out, _ = answer(capsys, "predict", *server, "--osl", "1")
    assert code == 0
    assert "first token" in out
    assert "whole request" in out
    for word in ("ITL", "TPOT", "0.0 ms"):
        assert word not in out
    found = json.loads(answer(capsys, "predict", *server, "--osl", "1", "--json")[1])
    assert found["e2e_ms"] == found["ttft_ms"]
    assert "TPOT" in answer(capsys, "predict", *server, "--osl", "2")[1]
