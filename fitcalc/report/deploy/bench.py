"""The test of the claim: `vllm bench serve` at one server's share, and the numbers to expect."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from fitcalc.answers import Limit, Percentiles
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.slo import Slo
from fitcalc.report.deploy.deployment import PORT, Deployment
from fitcalc.report.deploy.text import script_text, shell_text

_BEYOND = 50
"""Requests that should lie beyond the promised percentile, so that it is worth reading. [1]"""
_SHOWN = (50.0, 90.0, 95.0, 99.0)


def bench_files(deployment: Deployment) -> Mapping[str, str]:
    """Write the command, and what it should find, by the names of its result file."""
    expected = _expected(deployment)
    header = deployment.header(
        f"Run it against ONE server of the {deployment.choice.replicas}: its share of the traffic.",
        *_cautions(deployment),
        *_table(expected),
        "low and high hold the mean of 8 in 10 servers; percentiles scale with it.",
        *_simulated(deployment),
    )
    line = shell_text(bench_words(deployment), start=3)
    return {
        "bench.sh": script_text(header, line),
        "expected.json": json.dumps(expected, indent=2) + "\n",
    }


def bench_words(deployment: Deployment) -> list[str]:
    """Return the command. Source: vllm/benchmarks/serve.py and datasets/datasets.py, 0.33.0."""
    traffic, slo = deployment.share, deployment.question.slo
    prefix = traffic.prefix_tokens or round(traffic.hit_share * traffic.isl.mean)
    ratios = {"input": _ratio(traffic.isl, prefix), "output": _ratio(traffic.osl, 0)}
    several = traffic.num_prefixes > 1
    kind = "prefix_repetition" if several else "random"
    own, answer = (max(1, round(n)) for n in (traffic.isl.mean - prefix, traffic.osl.mean))
    words = ["vllm", "bench", "serve", "--base-url", f"http://localhost:{PORT}"]
    words += ["--model", deployment.model, "--dataset-name", kind, "--ignore-eos"]
    if several:
        words += ["--prefix-repetition-prefix-len", str(prefix)]
        words += ["--prefix-repetition-num-prefixes", str(traffic.num_prefixes)]
        words += ["--prefix-repetition-suffix-len", str(own)]
        words += ["--prefix-repetition-output-len", str(answer)]
    else:
        words += ["--random-input-len", str(own), "--random-output-len", str(answer)]
    if prefix and not several:
        words += ["--random-prefix-len", str(prefix)]
    if any(ratios.values()) and not several:
        words += ["--random-range-ratio", json.dumps(ratios)]
    count = traffic.num_requests or math.ceil(_BEYOND / (1.0 - slo.percentile / 100.0))
    if traffic.concurrency is not None:
        words += ["--max-concurrency", str(traffic.concurrency), "--request-rate", "inf"]
        count = max(count, 5 * traffic.concurrency)
    else:
        words += ["--request-rate", f"{traffic.qps or 0:.6g}"]
        words += ["--burstiness", f"{traffic.burstiness:.6g}"]
    words += ["--num-prompts", str(count), "--seed", "0", "--temperature", "0"]
    words += ["--percentile-metrics", "ttft,tpot,itl,e2el"]
    words += ["--metric-percentiles", ",".join(f"{p:g}" for p in _shown(slo))]
    words += ["--goodput", f"ttft:{slo.ttft_ms:g}"]
    words += [f"e2el:{slo.e2e_ms:g}"] if slo.e2e_ms is not None else []
    return [*words, "--save-result", "--result-filename", "measured.json"]


def _ratio(lengths: Lengths, prefix: int) -> float:
    """Return half the width of uniform lengths over their mean, as vLLM spreads them. [1]"""
    if lengths.kind != "uniform":
        return 0.0
    low, high = (max(1.0, end - prefix) for end in (lengths.low, lengths.high))
    return float(f"{min(0.999, (high - low) / (high + low)):.4g}")


def _cautions(deployment: Deployment) -> Iterator[str]:
    traffic, engine = deployment.share, deployment.choice.engine
    for name, lengths in (("Prompts", traffic.isl), ("Outputs", traffic.osl)):
        drawn = ("fixed",) if traffic.num_prefixes > 1 else ("fixed", "uniform")
        if lengths.kind not in drawn:
            yield (
                f"{name} are planned with {lengths.kind} lengths; the test has their mean alone, "
                "so its tail is shorter. Use --dataset-name custom with your own requests"
            )
    if engine.num_speculative_tokens:
        yield "Drafts of random text are rarely accepted: use --dataset-name custom with real text"
    if engine.enable_lora:
        yield "The base model is asked; add --lora-modules with your adapters' names to ask those"


def _simulated(deployment: Deployment) -> Iterator[str]:
    """Yield what events said of this server, where they were asked."""
    said = deployment.choice.verification
    if said is None:
        return
    for row in said.limits:
        yield (
            f"simulated p{row.percentile:g} {row.limit.value} {row.simulated_ms:,.1f} ms "
            f"({row.low_ms:,.1f} to {row.high_ms:,.1f})"
        )


def _expected(deployment: Deployment) -> dict[str, dict[str, float]]:
    """Return each number of the result file with its interval where there is one. [ms]"""
    found, slo = deployment.choice.prediction, deployment.question.slo
    interval = found.interval
    rows: dict[str, dict[str, float]] = {}
    for name, latency, mean, ends in (
        ("ttft", found.ttft_ms, found.ttft_ms.mean, interval.ttft_ms),
        ("tpot", found.tpot_ms, found.tpot_ms.mean, interval.tpot_ms),
        ("itl", found.itl_ms, found.tpot_ms.mean, interval.tpot_ms),
        ("e2el", found.e2e_ms, 0.0, (0.0, 0.0)),
    ):
        if latency.mean <= 0:
            continue  # answers of one token have no gaps
        for label, value in _numbers(latency, slo):
            row = {"expected": value}
            if mean > 0:
                row |= {"low": value * ends[0] / mean, "high": value * ends[1] / mean}
            rows[f"{label}_{name}_ms"] = {key: round(ms, 2) for key, ms in row.items()}
    return rows


def _shown(slo: Slo) -> list[float]:
    """Return the usual percentiles and the promised ones. [%]"""
    return sorted({*_SHOWN, slo.percentile, slo.at(Limit.ITL)})


def _numbers(latency: Percentiles, slo: Slo) -> Iterator[tuple[str, float]]:
    yield "mean", latency.mean
    for p in _shown(slo):
        yield f"p{p:g}", latency.at(p)


def _table(expected: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the expected numbers as lines."""
    for name, row in expected.items():
        ends = f" ({row['low']:,.1f} to {row['high']:,.1f})" if "low" in row else ""
        yield f"expect {name} {row['expected']:,.1f} ms{ends}"
