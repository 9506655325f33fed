"""A prediction explained: each equation with its numbers, where the time goes, what a knob does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fitcalc.answers import Bottleneck, MemoryLedger, Prediction, Rejection, Row
from fitcalc.catalog.gpu import gpu_figures
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.physics.build import calibrated
from fitcalc.planning.bottleneck import time_shares
from fitcalc.planning.server import (
    closed_form,
    profile_of,
    share_of_rank,
    start,
    step_of,
)
from fitcalc.planning.setup import ModelName, Setup
from fitcalc.queueing.goodput import state_of
from fitcalc.queueing.profile import Profile
from fitcalc.queueing.steady import Steady, at
from fitcalc.units import BITS_PER_BYTE, GIB, GIGA, MILLI, TERA


class Line(Row):
    """One quantity: its equation, the same with numbers, and what it comes to.

    Attributes:
        name: The quantity.
        equation: How it is computed, in symbols.
        numbers: The same in numbers.
        value: Result.
        unit: Its unit.
        source: Where the equation or the figures come from.
    """

    name: str
    equation: str
    numbers: str
    value: float
    unit: str
    source: str


class Knob(Row):
    """What moving one setting would do: mean TTFT, mean TPOT, largest rate, before and after."""

    setting: str
    ttft_ms: float | None
    tpot_ms: float | None
    capacity_per_s: float | None
    note: str


class Explanation(Row):
    """How a prediction comes about.

    Attributes:
        lines: The equations, from weights to latency.
        shares: Share of the engine's busy time by what it waits for; they sum to 1. [1]
        bottleneck: What binds.
        knobs: What other settings would do.
    """

    lines: tuple[Line, ...]
    shares: dict[Bottleneck, float]
    bottleneck: Bottleneck
    knobs: tuple[Knob, ...]


def explain(
    model: ModelName, gpu: str, engine: EngineArgs | None, traffic: Traffic
) -> Explanation | Rejection:
    """Explain what ``predict`` says in closed form.

    Args:
        model: As in ``predict``.
        gpu: As in ``predict``.
        engine: As in ``predict``.
        traffic: As in ``predict``.

    Returns:
        The equations with their numbers, or a falsy ``Rejection``.

    Raises:
        FitcalcError: a name is unknown or a value makes no sense.
    """
    args = engine or EngineArgs()
    started = start(model, gpu, args)
    if isinstance(started, Rejection):
        return started
    setup, ledger = started
    said = closed_form(setup, ledger, traffic)
    if isinstance(said, Rejection):
        return said
    share = share_of_rank(setup, traffic)
    server = profile_of(setup, ledger, share)
    load = np.array([share.load])
    state = state_of(
        server, load, closed=share.concurrency is not None, burstiness=share.burstiness
    )
    lines = [
        *_memory(setup, ledger, share),
        *_step(setup, server, state, share),
        *_queue(server, state, said),
    ]
    return Explanation(
        lines=tuple(lines),
        shares=time_shares(step_of(setup), [float(state.batch[0])], share, [said.prefix_hit])[0],
        bottleneck=said.bottleneck,
        knobs=tuple(_knobs(setup, args, traffic)),
    )


def _memory(setup: Setup, ledger: MemoryLedger, traffic: Traffic) -> Iterator[Line]:
    sources = {field: title for field, _, title in gpu_figures(setup.gpu.id)}
    total, weights = ledger.gpu_memory_bytes / GIB, ledger.weights_bytes / GIB
    yield Line(
        name="weights of a rank",
        equation="sum over tensors of rows x cols x bytes / ranks",
        numbers=f"{setup.model.total_params / GIGA:,.2f} G parameters in {setup.weight.id} over "
        f"tp {setup.split.tp} x pp {setup.split.pp}",
        value=weights,
        unit="GiB",
        source="vLLM's sharding; the model's config.json",
    )
    rest = ledger.activation_bytes + ledger.non_torch_bytes + ledger.cuda_graph_bytes
    yield Line(
        name="KV cache of a rank",
        equation="utilization x visible memory - weights - activation - non-torch - graphs",
        numbers=f"{setup.engine.gpu_memory_utilization:g} x (of {total:.1f}) - {weights:.2f} - "
        f"{rest / GIB:.2f}",
        value=ledger.kv_cache_bytes / GIB,
        unit="GiB",
        source=f"vllm/v1/worker/gpu_worker.py; memory: {sources['memory']}",
    )
    yield Line(
        name="requests of max_model_len that fit",
        equation="blocks / blocks of a request",
        numbers=f"{ledger.num_gpu_blocks:,} blocks of {ledger.block_size} tokens; "
        f"{ledger.kv_bytes_per_token:,.0f} B a token and rank",
        value=ledger.max_concurrency,
        unit="1",
        source="vllm/v1/core/kv_cache_utils.py",
    )
    yield Line(
        name="tokens a running request holds",
        equation="isl + E[osl²] / 2 E[osl]",
        numbers=f"{traffic.isl.mean:,.0f} + {traffic.osl.length_biased:,.0f}",
        value=traffic.held,
        unit="tokens",
        source="length-biased mean of a request seen at a random step",
    )


def _step(setup: Setup, server: Profile, state: Steady, traffic: Traffic) -> Iterator[Line]:
    batch = float(state.batch[0])
    parts = step_of(setup).breakdown(max(batch, 1.0), max(batch, 1.0) * traffic.held)
    kind = calibrated(setup.gpu, setup.weight).value
    peak = setup.gpu.peak_flops.get(str(setup.weight.compute), 0.0) / TERA
    facts = f"{setup.gpu.memory_bandwidth / TERA:.2f} TB/s, {peak or '-'} TFLOPS; {kind}"
    for name, seconds in parts.items():
        if float(seconds) > 0:
            yield Line(
                name=f"decode step: {name.replace('_', ' ')}",
                equation=_LAWS[name],
                numbers=f"batch {batch:,.1f}, context {batch * traffic.held:,.0f} tokens; {facts}",
                value=float(seconds) / MILLI,
                unit="ms",
                source=_SOURCES.get(name, "calibration/results"),
            )
    tables = (server.decode_s, server.prefill_s)
    decode, prefill = (float(at(server, x, state.batch)[0]) for x in tables)
    yield Line(
        name="decode step",
        equation="sum of its parts",
        numbers=f"batch {batch:,.1f}",
        value=decode / MILLI,
        unit="ms",
        source="fitcalc.physics.step",
    )
    yield Line(
        name="prefill of a prompt",
        equation="chunks x (step with chunk - step without)",
        numbers=f"{float(at(server, server.chunks, state.batch)[0]):,.1f} chunks of at most "
        f"{setup.engine.max_num_batched_tokens:,} tokens",
        value=prefill / MILLI,
        unit="ms",
        source="fitcalc.queueing.profile",
    )


_LAWS = {
    "gemm": "layers x (t0 + max(2mnk / flops, bytes / bandwidth))",
    "lm_head": "t0 + max(2mnk / flops, bytes / bandwidth), sampled rows",
    "experts": "layers x (t0 + max(flops of routed rows, bytes of touched experts))",
    "attention_decode": "layers x (t0 + KV bytes / bandwidth)",
    "attention_prefill": "layers x (t0 + 4 heads width pairs / flops)",
    "glue": "launches x t0 + bytes of norms, activations, sampling / bandwidth",
    "link": "all-reduces x (alpha + 2 (n-1)/n bytes / link)",
    "launch": "max(0, kernels x launch + step - the rest), without CUDA graphs",
    "host": "step (if not asynchronous) + sequences x each + prompts and their tokens x each",
}
_SOURCES = {"launch": "calibration/results/launch.toml, an estimate"}


def _queue(server: Profile, state: Steady, said: Prediction) -> Iterator[Line]:
    rate, capacity = float(state.rate[0]), float(state.capacity[0])
    yield Line(
        name="largest stable rate",
        equation="max over b of b / (osl x T(b)), b within slots and KV cache",
        numbers=f"b up to {float(server.max_batch[0]):,.0f}",
        value=capacity,
        unit="1/s",
        source="Nie, Si, Zhou 2026, arXiv 2605.04595",
    )
    yield Line(
        name="utilization",
        equation="rate / largest stable rate",
        numbers=f"{rate:.4g} / {capacity:.4g}",
        value=rate / capacity,
        unit="1",
        source="",
    )
    yield Line(
        name="steady batch",
        equation="b = rate x (osl - 1) x T(b)",
        numbers=f"{rate:.4g} x {server.decode_steps:,.0f} x {float(state.gap_s[0]) / MILLI:.2f} ms",
        value=float(state.batch[0]),
        unit="1",
        source="Little's law",
    )
    yield Line(
        name="mean TPOT",
        equation="T(b) = decode step + prompts a step x prefill of a prompt",
        numbers=f"at b = {float(state.batch[0]):,.1f}",
        value=said.tpot_ms.mean,
        unit="ms",
        source="fluid fixed point",
    )
    yield Line(
        name="mean TTFT",
        equation="front end + own prefill + rest of the running step + prompts before",
        numbers=f"front end {float(server.frontend_s[0]) / MILLI:.0f} ms",
        value=said.ttft_ms.mean,
        unit="ms",
        source="gated-vacation or Pollaczek-Khinchine queue in each batch size",
    )


def _knobs(setup: Setup, args: EngineArgs, traffic: Traffic) -> Iterator[Knob]:
    """Predict again with one setting moved."""
    now = setup.engine
    moves: list[tuple[str, EngineArgs]] = []
    if now.tensor_parallel_size * 2 <= setup.gpu.gpus_per_node:
        size = now.tensor_parallel_size * 2
        moves.append((f"tensor_parallel_size {size}", args.replace(tensor_parallel_size=size)))
    if setup.weight.bits > BITS_PER_BYTE:
        moves.append(("quantization fp8", args.replace(quantization="fp8")))
    if setup.kv.bytes_per_element > 1:
        moves.append(("kv_cache_dtype fp8", args.replace(kv_cache_dtype="fp8")))
    for factor in (0.5, 2.0):
        tokens = int(now.max_num_batched_tokens * factor)
        if tokens >= now.max_num_seqs:
            moves.append(
                (f"max_num_batched_tokens {tokens}", args.replace(max_num_batched_tokens=tokens))
            )
    if not now.enforce_eager:
        moves.append(("enforce_eager", args.replace(enforce_eager=True)))
    for name, moved in [("as it is", args), *moves]:
        yield _knob(name, setup, moved, traffic)


def _knob(name: str, setup: Setup, moved: EngineArgs, traffic: Traffic) -> Knob:
    started = start(setup.model, setup.gpu, moved)
    if isinstance(started, Rejection):
        return Knob(
            setting=name, ttft_ms=None, tpot_ms=None, capacity_per_s=None, note=started.reason
        )
    said = closed_form(*started, traffic)
    if isinstance(said, Rejection):
        return Knob(
            setting=name,
            ttft_ms=None,
            tpot_ms=None,
            capacity_per_s=said.available,
            note=said.reason,
        )
    return Knob(
        setting=name,
        ttft_ms=said.ttft_ms.mean,
        tpot_ms=said.tpot_ms.mean,
        capacity_per_s=said.requests_per_s / said.utilization,
        note="",
    )
