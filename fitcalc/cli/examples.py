"""What ``--help`` shows below each command: lines to copy."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "plan": (
        "fitcalc plan --model 70b --ctx 8k --qps 20/s",
        "fitcalc plan --model qwen3-32b --isl 2k --osl 300 --qps 1M/day --budget 50",
        "fitcalc plan --model 70b --ctx 8k --qps 20 --gpu h100 --ttft 800ms --itl 40",
        "fitcalc plan --model 70b --ctx 8k --qps 20 --sensitivity --pareto",
    ),
    "fit": (
        "fitcalc fit --model qwen3-32b --gpu 4090 --quantization awq --max-model-len 8k",
        "fitcalc fit --model 70b --gpu h100 --tp 4 --ctx 8k --what-if",
        "fitcalc fit --model 70b",
    ),
    "predict": ("fitcalc predict --model 70b --gpu h100 --tp 4 --ctx 8k --qps 0.5",),
    "simulate": (
        "fitcalc simulate --model 70b --gpu h100 --tp 4 --ctx 8k --qps 0.5 --seed 7",
        "fitcalc simulate --model 8b --gpu h100 --trace day.csv --replicas 2",
    ),
    "explain": ("fitcalc explain --model 70b --gpu h100 --tp 4 --ctx 8k --qps 0.5",),
    "sweep": (
        "fitcalc sweep --model 8b --gpu h100,l40s --isl 1k --osl 200 --qps 1,2,4",
        "fitcalc sweep fitcalc.toml --set traffic.qps=10,20,40",
    ),
    "compare": (
        "fitcalc plan --model 70b --ctx 8k --qps 20 --gpu h100 --json > h100.json",
        "fitcalc compare h100.json h200.json",
        "fitcalc compare fitcalc.toml:chat fitcalc.toml:batch --all",
    ),
    "deploy": (
        "fitcalc plan --model 70b --ctx 8k --qps 20 --json > plan.json",
        "fitcalc deploy plan.json --as vllm --out deploy",
    ),
    "init": ("fitcalc init", "fitcalc init --yes --model 70b --qps 20/s --ctx 8k --budget 300"),
    "check": (
        "fitcalc check",
        "fitcalc check --baseline fitcalc.lock --markdown",
        "fitcalc check --locked --junit capacity.xml --annotations auto",
    ),
    "lock": ("fitcalc lock", "fitcalc lock services/fitcalc.toml"),
    "gpus": ("fitcalc gpus", "fitcalc gpus h200", "fitcalc gpus rtx --json"),
    "models": ("fitcalc models", "fitcalc models qwen3-32b"),
    "calibrate": ("fitcalc calibrate --device cuda:0", "fitcalc calibrate --fit calibration"),
    "validate": ("fitcalc validate --silicon runs --memory logs",),
    "dashboard": ("fitcalc dashboard", "fitcalc dashboard --port 8600 --no-open"),
}


def epilog(command: str) -> str | None:
    """Return the examples of a command, a line each; ``None`` where there are none."""
    lines = EXAMPLES.get(command)
    return "\n\n".join(("Examples:", *lines)) if lines else None
