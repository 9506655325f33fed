"""What fitcalc predicts today. A change that moves a line is explained in CHANGELOG.

``make snapshot`` rewrites ``snapshot/plans.csv`` and the output in README.md; the diff is read
before it is committed.
"""

from __future__ import annotations

import csv
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from fitcalc import EngineArgs, MemoryLedger, Prediction, Slo, Traffic, fit, plan, predict
from fitcalc.cli.main import run

TABLE = Path(__file__).parent / "snapshot" / "plans.csv"
README = Path(__file__).parent.parent / "README.md"
ACCURACY = README.parent / "docs" / "accuracy.md"
SHOWN = ["plan", "--model", "70b", "--ctx", "8k", "--qps", "20"]
SHOWN_WIDTH = "100"
REWRITE = os.environ.get("FITCALC_SNAPSHOT") == "rewrite"
DIGITS = 4
COLUMNS = ("scenario", "answer")
USUAL, AS_VLLM = Slo(), EngineArgs()


@dataclass(frozen=True)
class Plans:
    """A plan over a few GPU types."""

    model: str
    traffic: Traffic
    gpus: tuple[str, ...]
    slo: Slo = USUAL
    quantization: tuple[str, ...] | None = None

    def answer(self) -> str:
        found = plan(
            self.model, self.traffic, self.slo, gpus=self.gpus, quantization=self.quantization
        )
        if found.best is None:
            lost = found.closest
            return "none" if lost is None else f"none {lost.limit} {lost.gpu}"
        best, felt = found.best, found.best.prediction
        engine = best.engine
        return words(
            f"{best.gpu_count}x{best.gpu}",
            f"tp{engine.tensor_parallel_size}pp{engine.pipeline_parallel_size}",
            f"{engine.weight_format}/{engine.kv_cache_dtype}",
            f"seqs{engine.max_num_seqs}/{engine.max_num_batched_tokens}",
            usd=best.usd_per_hour,
            ttft_p95=felt.ttft_ms.p95,
            itl_p95=felt.itl_ms.p95,
        )


@dataclass(frozen=True)
class Fits:
    """One rank's memory."""

    model: str
    gpu: str
    engine: EngineArgs = AS_VLLM

    def answer(self) -> str:
        found = fit(self.model, self.gpu, self.engine)
        if not isinstance(found, MemoryLedger):
            return f"none {found.limit}"
        return words(
            weights=found.weights_bytes,
            kv=found.kv_cache_bytes,
            concurrency=found.max_concurrency,
            longest=found.max_model_len_fit,
        )


@dataclass(frozen=True)
class Predicts:
    """One server's latency."""

    model: str
    gpu: str
    traffic: Traffic
    engine: EngineArgs = AS_VLLM

    def answer(self) -> str:
        found = predict(self.model, self.gpu, self.engine, self.traffic)
        if not isinstance(found, Prediction):
            return f"none {found.limit} {rounded(found.available)}"
        return words(
            found.bottleneck,
            found.method,
            ttft=found.ttft_ms.mean,
            ttft_p95=found.ttft_ms.p95,
            tpot=found.tpot_ms.mean,
            itl_p99=found.itl_ms.p99,
            batch=found.steady_batch,
        )


def words(*names: str, **figures: float | None) -> str:
    return " ".join([*names, *(f"{name}={rounded(value)}" for name, value in figures.items())])


def rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:.{DIGITS}g}"


def load(qps: float, isl: int, osl: int) -> Traffic:
    return Traffic(qps=qps, isl=isl, osl=osl)


TP4, TP8 = EngineArgs(tensor_parallel_size=4), EngineArgs(tensor_parallel_size=8)
EP8 = EngineArgs(tensor_parallel_size=8, enable_expert_parallel=True)
SHORT = EngineArgs(max_model_len=8192)
NVIDIA = ("h100_sxm", "h200_sxm", "b200_sxm")

SCENARIOS: dict[str, Plans | Fits | Predicts] = {
    "70b 8k 20": Plans("70b", load(20, 7168, 1024), NVIDIA),
    "70b 8k 20 bf16 h100": Plans("70b", load(20, 7168, 1024), ("h100",), quantization=("bf16",)),
    "70b 8k 20 fp8 h100": Plans("70b", load(20, 7168, 1024), ("h100",), quantization=("fp8",)),
    "70b chat 5": Plans("70b", load(5, 1500, 300), NVIDIA),
    "70b chat 5 tight": Plans("70b", load(5, 1500, 300), NVIDIA, Slo(ttft_ms=400, itl_ms=20)),
    "70b chat 5 amd": Plans("70b", load(5, 1500, 300), ("mi300x", "mi325x", "mi355x")),
    "70b chat 5 pcie": Plans("70b", load(5, 1500, 300), ("l40s", "rtx_pro_6000_server")),
    "70b users 64": Plans("70b", Traffic(concurrency=64, isl=2000, osl=500), NVIDIA),
    "8b chat 50": Plans("llama-3.1-8b", load(50, 1000, 250), ("l4", "l40s", "h100", "a100")),
    "8b chat 1 small": Plans("llama-3.1-8b", load(1, 1000, 250), ("l4", "t4", "a10g", "4090")),
    "8b long 2": Plans("llama-3.1-8b", load(2, 60_000, 500), NVIDIA, Slo(ttft_ms=20_000)),
    "qwen3-32b 10": Plans("qwen3-32b", load(10, 2000, 500), NVIDIA),
    "gpt-oss-120b 10": Plans("gpt-oss-120b", load(10, 2000, 500), NVIDIA),
    "gpt-oss-20b 10": Plans("gpt-oss-20b", load(10, 2000, 500), ("l40s", "h100", "5090")),
    "deepseek-r1 2": Plans("deepseek-r1", load(2, 4000, 1000), ("h200", "b200")),
    "mixtral 5": Plans("mixtral-8x7b", load(5, 2000, 500), ("h100", "a100")),
    "gemma-3-27b 5": Plans("gemma-3-27b", load(5, 2000, 500), ("h100", "l40s")),
    "405b 2": Plans("405b", load(2, 4000, 500), NVIDIA),
    "405b on 4090": Plans("405b", load(2, 4000, 500), ("4090",)),
    "fit 8b h100": Fits("llama-3.1-8b", "h100"),
    "fit 8b 4090": Fits("llama-3.1-8b", "4090", SHORT),
    "fit 8b t4": Fits("llama-3.1-8b", "t4", SHORT),
    "fit 70b h100 tp4": Fits("70b", "h100", TP4),
    "fit 70b 4090": Fits("70b", "4090"),
    "fit qwen3-32b 4090": Fits("qwen3-32b", "4090", SHORT),
    "fit qwen3-32b awq 4090": Fits("qwen3-32b", "4090", SHORT.replace(quantization="awq")),
    "fit gpt-oss-120b h100": Fits("gpt-oss-120b", "h100"),
    "fit deepseek-r1 h200 tp8": Fits("deepseek-r1", "h200", TP8),
    "fit gemma-3-27b h100": Fits("gemma-3-27b", "h100"),
    "fit mixtral a100 tp4": Fits("mixtral-8x7b", "a100", TP4),
    "predict 8b h100 idle": Predicts("llama-3.1-8b", "h100", load(0.01, 1000, 200)),
    "predict 8b h100 half": Predicts("llama-3.1-8b", "h100", load(10, 1000, 200)),
    "predict 8b h100 too much": Predicts("llama-3.1-8b", "h100", load(1000, 1000, 200)),
    "predict 70b h100 tp4": Predicts("70b", "h100", load(1, 2000, 300), TP4),
    "predict 70b mi300x tp4": Predicts("70b", "mi300x", load(1, 2000, 300), TP4),
    "predict 70b a100 tp8": Predicts("70b", "a100", load(1, 2000, 300), TP8),
    "predict deepseek-r1 h200 ep8": Predicts("deepseek-r1", "h200", load(1, 2000, 500), EP8),
    "predict gpt-oss-120b h100": Predicts("gpt-oss-120b", "h100", load(2, 2000, 500)),
    "predict 8b l4": Predicts("llama-3.1-8b", "l4", load(0.5, 1000, 200), SHORT),
    "predict 8b h100 users 32": Predicts(
        "llama-3.1-8b", "h100", Traffic(concurrency=32, num_requests=320, isl=1000, osl=200)
    ),
}


def snapshot() -> dict[str, str]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["scenario"]: row["answer"] for row in csv.DictReader(file)}


@pytest.mark.skipif(REWRITE, reason="the snapshot is being rewritten")
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_moved_unexplained(name: str) -> None:
    assert SCENARIOS[name].answer() == snapshot()[name]


@pytest.mark.skipif(REWRITE, reason="the snapshot is being rewritten")
def test_the_snapshot_holds_these_scenarios_and_no_others() -> None:
    assert list(snapshot()) == list(SCENARIOS)


def shown_plan(capsys: pytest.CaptureFixture[str]) -> str:
    """Return README's block: the command and what it prints."""
    assert run(SHOWN) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    return "\n".join(["```", f"$ fitcalc {' '.join(SHOWN)}", *lines, "```"])


def shown_accuracy() -> str:
    """Return the first table of docs/accuracy.md."""
    lines = ACCURACY.read_text(encoding="utf-8").splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("| Family"))
    return "\n".join(itertools.takewhile(bool, lines[first:]))


def readme_parts(name: str) -> tuple[str, str, str]:
    """Split README around a block."""
    before, rest = README.read_text(encoding="utf-8").split(f"<!-- {name}: ", 1)
    marker, rest = rest.split("-->\n", 1)
    block, after = rest.split(f"\n<!-- end of {name} -->", 1)
    return f"{before}<!-- {name}: {marker}-->\n", block, f"\n<!-- end of {name} -->{after}"


@pytest.mark.skipif(REWRITE, reason="the snapshot is being rewritten")
def test_readme_shows_what_plan_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", SHOWN_WIDTH)
    assert readme_parts("plan")[1] == shown_plan(capsys)


@pytest.mark.skipif(REWRITE, reason="the snapshot is being rewritten")
def test_readme_shows_the_accuracy_that_was_measured() -> None:
    assert readme_parts("accuracy")[1] == shown_accuracy()


@pytest.mark.skipif(not REWRITE, reason="only `make snapshot` rewrites")
def test_rewrite(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", SHOWN_WIDTH)
    for name, block in (("plan", shown_plan(capsys)), ("accuracy", shown_accuracy())):
        before, _, after = readme_parts(name)
        README.write_text(f"{before}{block}{after}", encoding="utf-8")
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((name, asked.answer()) for name, asked in SCENARIOS.items())
