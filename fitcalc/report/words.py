"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from fitcalc.answers import Bottleneck, Calibrated, Limit
from fitcalc.errors import FitcalcError
from fitcalc.inputs.engine import EngineArgs, ResolvedEngine
from fitcalc.units import GIB, KILO

BOTTLENECK = {
    Bottleneck.COMPUTE: "arithmetic: the cards multiply at their limit, mostly for prompts",
    Bottleneck.WEIGHT_BANDWIDTH: "memory bandwidth: each step reads all the weights",
    Bottleneck.KV_BANDWIDTH: "memory bandwidth: each step reads the KV cache of every request",
    Bottleneck.KV_CAPACITY: "memory: requests wait for room in the KV cache",
    Bottleneck.LINK: "the link between the GPUs of a server",
    Bottleneck.HOST: "the host: the CPU cannot prepare steps faster",
    Bottleneck.QUEUE: "the queue: requests wait for each other",
}
"""What binds, in words."""

BINDS = {
    Bottleneck.COMPUTE: "arithmetic",
    Bottleneck.WEIGHT_BANDWIDTH: "weights",
    Bottleneck.KV_BANDWIDTH: "KV reads",
    Bottleneck.KV_CAPACITY: "KV room",
    Bottleneck.LINK: "link",
    Bottleneck.HOST: "host",
    Bottleneck.QUEUE: "queue",
}
"""What binds, in a word."""

_WORTH_SAYING = 0.01


def shares_words(shares: Mapping[Bottleneck, float]) -> str:
    """Say what a request's time goes to, the largest first.

    Examples:
        >>> shares_words({Bottleneck.LINK: 0.25, Bottleneck.HOST: 0.75, Bottleneck.QUEUE: 0.001})
        'host 75 %, link 25 %'
    """
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    return ", ".join(f"{BINDS[n]} {100 * x:.0f} %" for n, x in ordered if x >= _WORTH_SAYING)


CALIBRATED = {
    Calibrated.OWN: "fitted to your own measurements of this device",
    Calibrated.MEASURED: "fitted to kernels measured on this GPU",
    Calibrated.TRANSFERRED: "not measured on this GPU: efficiencies borrowed from a relative",
    Calibrated.DATASHEET: "not measured on this GPU or a relative: datasheet figures only",
}
"""How far a prediction is to be trusted, in words."""

LIMIT = {
    Limit.MEMORY: "too little memory",
    Limit.TTFT: "first token too late",
    Limit.ITL: "tokens too slow",
    Limit.E2E: "whole request too slow",
    Limit.SATURATION: "cannot carry the rate",
    Limit.DIVISIBILITY: "model does not divide",
    Limit.UNSUPPORTED_FORMAT: "format not supported",
    Limit.UNSUPPORTED_GPU: "GPU not supported",
    Limit.CONTEXT: "context too long",
    Limit.BUDGET: "over the budget",
    Limit.MAX_GPUS: "too many GPUs",
    Limit.PRICE: "no price known",
}
"""Why a configuration lost, in words."""

_UNIT = {
    Limit.MEMORY: "GiB", Limit.TTFT: "ms", Limit.ITL: "ms", Limit.E2E: "ms",
    Limit.SATURATION: "req/s", Limit.CONTEXT: "tokens", Limit.BUDGET: "$/h",
    Limit.MAX_GPUS: "GPUs",
}  # fmt: skip
_WHOLE = 100


def gpu_name(gpu: str) -> str:
    """Return a GPU's name; a GPU that is in no table keeps its id."""
    from fitcalc.catalog.gpu import load_gpu  # noqa: PLC0415 - a name costs a table

    try:
        return load_gpu(gpu).name
    except FitcalcError:
        return gpu


def gib(size: float) -> str:
    """Bytes in GiB, as vLLM logs them.

    Examples:
        >>> gib(2.0**34)
        '16.0 GiB'
    """
    return f"{size / GIB:,.1f} GiB"


def number(value: float) -> str:
    """Three figures that matter, thousands apart.

    Examples:
        >>> number(1234.6), number(12.345), number(0.01234)
        ('1,235', '12.3', '0.0123')
    """
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def usd(value: float | None, digits: int = 2) -> str:
    """Return dollars, or a dash where no price is known."""
    return "-" if value is None else f"${value:,.{digits}f}"


def amount(limit: Limit, value: float) -> str:
    """Return a figure of a limit with its unit.

    Examples:
        >>> amount(Limit.TTFT, 2500.0)
        '2,500 ms'
    """
    if limit is Limit.MEMORY:
        return gib(value)
    if limit is Limit.BUDGET:
        return f"{usd(value)}/h"
    return f"{number(value)} {_UNIT.get(limit, '')}".rstrip()


def milliseconds(value: float) -> str:
    """Return a latency: whole ms above 100, seconds from 10 s on.

    Examples:
        >>> milliseconds(42.04), milliseconds(25_300.0)
        ('42.0 ms', '25.3 s')
    """
    if value >= 10 * KILO:
        return f"{value / KILO:,.1f} s"
    return f"{value:,.0f} ms" if value >= _WHOLE else f"{value:.1f} ms"


def layout(engine: ResolvedEngine | EngineArgs) -> str:
    """Name how one server spreads over its GPUs.

    Examples:
        >>> from types import SimpleNamespace
        >>> layout(SimpleNamespace(tensor_parallel_size=8, pipeline_parallel_size=2,
        ...     data_parallel_size=1, enable_expert_parallel=False))
        'TP8 x PP2'
    """
    sizes = (
        ("TP", engine.tensor_parallel_size),
        ("PP", engine.pipeline_parallel_size),
        ("DP", engine.data_parallel_size),
    )
    shown = [f"{name}{size}" for name, size in sizes if size > 1 or name == "TP"]
    return " x ".join(shown) + (" + EP" if engine.enable_expert_parallel else "")


def sentence(words: str) -> str:
    """Return words as a sentence.

    Examples:
        >>> sentence("too long; shorten it")
        'Too long; shorten it.'
    """
    text = words.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def count(items: int, noun: str) -> str:
    """Return a number of things.

    Examples:
        >>> count(1, "server"), count(1200, "server")
        ('1 server', '1,200 servers')
    """
    return f"{items:,} {noun}{'' if items == 1 else 's'}"


OPTION = {
    "slo.ttft_ms": "--ttft",
    "slo.itl_ms": "--itl",
    "slo.e2e_ms": "--e2e",
    "plan.budget_usd_per_hour": "--budget",
    "plan.max_gpus": "--max-gpus",
    "plan.gpus": "--gpu",
    "plan.exclude_gpus": "--exclude-gpu",
    "plan.quantization": "--quantization",
    "plan.cloud": "--cloud",
    "traffic.qps": "--qps",
    "traffic.concurrency": "--concurrency",
}
"""The option of ``fitcalc plan`` that sets a field of a scenario file."""
