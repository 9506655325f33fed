"""Writes docs/model.md: every equation, in the order in which an answer needs them.

The equations are the docstrings' own, so that page and code cannot differ:
``python docs/model_page.py`` rewrites the page, and a test compares it.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

PAGE = Path(__file__).with_name("model.md")

HEAD = """# The model

Every equation, in the order in which an answer needs them. This page is written from the
docstrings by `python docs/model_page.py`; there each argument has its unit, and a worked example
that runs as a test. Inside, everything is in seconds, bytes and FLOP.
"""

SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Weights",
        "Counted tensor by tensor from the config, in the checkpoint's format, split as vLLM does.",
        ("physics.weights:rank_share", "physics.weights:tensor_bytes", "physics.splits:gemms"),
    ),
    (
        "KV cache",
        "Blocks as vLLM lays them out: layers in groups, a request reserves blocks of each group.",
        (
            "physics.kv_layers:attention_bytes_per_token",
            "physics.kv_cache:reserved_blocks",
            "physics.kv_cache:kv_bytes_per_request",
            "physics.kv_cache:max_concurrency",
        ),
    ),
    (
        "Memory of one GPU",
        "What is left for the KV cache; the overheads' coefficients are fitted to start-up logs.",
        ("physics.memory:kv_budget_bytes", "physics.activation:activation_bytes"),
    ),
    (
        "Kernels",
        "A floor, and work over attainable speed; coefficients are fitted per GPU and format.",
        (
            "physics.kernels:smooth_max",
            "physics.kernels:gemm_s",
            "physics.attention:attention_decode_s",
            "physics.attention:attention_prefill_s",
            "physics.experts:experts_touched",
            "physics.experts:moe_s",
            "physics.kernels:memory_bound_s",
        ),
    ),
    (
        "Collectives",
        "Bytes between ranks.",
        (
            "physics.collectives:all_reduce_s",
            "physics.collectives:exchange_s",
            "physics.collectives:point_to_point_s",
        ),
    ),
    (
        "One engine step",
        "All kernels of a mixed batch, the links, and the host beside them.",
        (
            "physics.step:StepModel.step_s",
            "physics.step:StepModel.frontend_s",
            "physics.launch:launch_wait_s",
            "physics.lora:adapter_gemms",
        ),
    ),
    (
        "Waiting, in closed form",
        "Stability first, then the steady batch, then percentiles; tests hold it against events.",
        (
            "queueing.steady:largest_stable_rate",
            "queueing.steady:steady",
            "queueing.closed_loop:closed_loop",
            "queueing.latency:ttft_law",
            "queueing.latency:gap_law",
            "queueing.mixture:gamma_cdf",
            "queueing.mixture:normal_cdf",
            "queueing.goodput:goodput",
        ),
    ),
    (
        "Cost and choice",
        "Replicas carry the goodput less the headroom; the cheapest that keeps the promise wins.",
        (
            "planning.cost:replicas_for",
            "planning.evaluate:best_of_each",
            "planning.cost:bill",
            "planning.cost:usd_per_million",
            "planning.market:owned_offer",
            "planning.hosted:break_even_qps",
        ),
    ),
)


def page() -> str:
    """Return the page's text."""
    parts = [HEAD]
    for title, lead, names in SECTIONS:
        parts.append(f"## {title}\n\n{lead}\n")
        parts += [_entry(name) for name in names]
    return "\n".join(parts)


def _entry(name: str) -> str:
    """Return one function's heading, what it says before its arguments, and its references."""
    module, _, path = name.partition(":")
    found: object = import_module(f"fitcalc.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    text = inspect.getdoc(inspect.unwrap(found)) or ""  # type: ignore[arg-type]
    said = re.split(r"\n(?:Args|Returns|Raises|Examples|References):\n", text)[0].strip()
    cited = re.search(r"References:\n(?P<lines>(?:    .*\n?|\n)+)", text)
    entry = f"### `fitcalc.{module}.{path}`\n\n{said}\n"
    if cited:
        words = " ".join(cited["lines"].split())
        entry += f"\n*{words}*\n"
    return entry


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
