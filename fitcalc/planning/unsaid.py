"""Which parts of a question nobody said, so that an answer can name every default it rests on."""

from __future__ import annotations

from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.slo import Slo
from fitcalc.planning.choice import Plan

_PROMISE = ("ttft_ms", "itl_ms", "percentile")
_SERVER = ("gpu_memory_utilization", "kv_cache_dtype", "version")
_LENGTHS = ("isl", "osl")


def name_defaults(plan: Plan, slo: Slo, engine: EngineArgs, *, split: bool) -> Plan:
    """Return the plan with the fields of promise and server that nobody set among its defaults.

    Args:
        plan: The answer.
        slo: The promise, as given.
        engine: The settings, as given.
        split: Whether a context was split into isl and osl.
    """
    names = [name for name in plan.question.defaults if name != "slo"]
    names += [name for name in _PROMISE if name not in slo.model_fields_set]
    names += [name for name in _SERVER if name not in engine.model_fields_set]
    names += _LENGTHS if split else ()
    question = plan.question.model_copy(update={"defaults": tuple(dict.fromkeys(names))})
    return plan.model_copy(update={"question": question})
