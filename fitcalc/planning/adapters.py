"""Many LoRA adapters on shared servers, beside servers without any and merged models of each."""

from __future__ import annotations

from collections.abc import Callable

from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.choice import Choice
from fitcalc.planning.cost import bought, within_budget
from fitcalc.planning.feature import Feature, FeatureName, Fleet, judged
from fitcalc.planning.features import fleet_of
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.ranking import Limits
from fitcalc.units import GIB

_FLOOR = (
    "that counts the adapters' products at the speed of other GEMMs, the least they take: measure "
    "before you buy little"
)


def adapters(
    best: Finalist,
    number: int | None,
    planned: Traffic,
    *,
    slo: Slo,
    limits: Limits,
    bare: Callable[[Traffic], Choice | None],
) -> Feature:
    """Compare a plan with adapters with the same without, or with a merged model for each.

    Args:
        best: The plan's best, with slots for adapters.
        number: Adapters, each asked as often as any other; ``None`` = compare with none. [1]
        planned: The load.
        slo: The promise.
        limits: What bounds the plan.
        bare: Returns the best without adapters for a traffic; ``None`` = none keeps the promise.
    """
    plain, with_slots = bare(planned), fleet_of(best.choice, slo)
    without = None if plain is None else fleet_of(plain, slo)
    why = _why(best, without, with_slots)
    if number is not None:
        each = bare(planned.share(number))
        without = None if each is None else _merged(each, number, slo, limits)
        why = (*why, *_compared(best.setup.engine, number))
    said = best.choice.prediction
    return judged(
        FeatureName.LORA,
        with_slots,
        without,
        risk=said.interval.tpot_ms[1] / said.tpot_ms.mean - 1.0,
        why=why,
        flags=_flags(best.setup.engine, number),
    )


def _merged(each: Choice, number: int, slo: Slo, limits: Limits) -> Fleet | None:
    """Return the servers of all merged models; ``None`` = beyond GPUs or money."""
    servers, gpus = each.replicas * number, each.engine.gpus
    money = bought(each.gpu, gpus, limits.sold)(servers).usd_per_hour
    budget = limits.budget_usd_per_hour
    if limits.max_gpus is not None and servers * gpus > limits.max_gpus:
        return None
    if budget is not None and (money is None or not within_budget(money, budget)):
        return None
    update = {"replicas": servers, "gpu_count": servers * gpus, "usd_per_hour": money}
    return fleet_of(each, slo).model_copy(update=update)


def _why(best: Finalist, plain: Fleet | None, slots: Fleet) -> tuple[str, ...]:
    """Say what adapters take of memory, time and money."""
    engine = best.setup.engine
    held = (
        f"slots for {engine.max_loras} adapters of rank {engine.max_lora_rank} take "
        f"{best.ledger.lora_bytes / GIB:.2f} GiB of each GPU; two small products stand beside "
        "every matrix, used or not"
    )
    if plain is None:
        return held, _FLOOR
    money = (
        f"${slots.usd_per_hour:,.2f} an hour instead of ${plain.usd_per_hour:,.2f}"
        if slots.usd_per_hour and plain.usd_per_hour
        else f"{slots.gpu_count} GPUs instead of {plain.gpu_count}"
    )
    return held, f"the plan costs {money} for the model alone", _FLOOR


def _compared(engine: ResolvedEngine, number: int) -> tuple[str, ...]:
    """Say what it is compared with, and what too few slots do."""
    merged = f"without it, each of {number:,} merged models has servers of its own"
    if number <= engine.max_loras:
        return (merged,)
    waits = (
        f"a batch has {engine.max_loras} adapters at most: requests of the other "
        f"{number - engine.max_loras:,} wait, and loading theirs takes time; neither is counted"
    )
    return merged, waits


def _flags(engine: ResolvedEngine, number: int | None) -> str:
    """Return what ``vllm serve`` takes besides: who the adapters are, and room for them all."""
    more = number is not None and number > engine.max_loras
    return "--lora-modules NAME=PATH" + (f" --max-cpu-loras {number}" if more else "")
