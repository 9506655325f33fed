"""Every default that a plan rests on, in words."""

from __future__ import annotations

from fitcalc.planning.choice import Plan, PlanQuestion
from fitcalc.report.words import count, milliseconds


def assumed_words(plan: Plan, note: str) -> str:
    """Name what nobody said; empty where everything was said."""
    known = _words(plan)
    words = [known[name] for name in plan.question.defaults if name in known]
    said = "; ".join([note, *words] if note else words)
    return f"Assumed, because nobody said otherwise: {said}." if said else ""


def _more(asked: PlanQuestion) -> str:
    """Say what else could be asked for, where only whole checkpoints were tried."""
    few = {"awq_int4", "nvfp4"} & set(asked.weight_formats)
    whole = {"bf16", "fp16"} & set(asked.weight_formats)
    return " (4 bits may be cheaper: --quantization nvfp4)" if whole and not few else ""


def _words(plan: Plan) -> dict[str, str]:
    """Put each default in words; what the note or the answer says anyway is left out."""
    asked, slo = plan.question, plan.question.slo
    words = {
        "ttft_ms": f"first token within {milliseconds(slo.ttft_ms)}",
        "itl_ms": f"at most {milliseconds(slo.itl_ms)} between tokens",
        "percentile": f"both kept for {slo.percentile:g} % of requests and gaps",
        "headroom": f"{100 * asked.headroom:g} % of the load within the promise left free",
        "gpus": f"any of {count(len(asked.gpus), 'GPU type')}",
        "weight_formats": f"weights in any of {', '.join(asked.weight_formats)}{_more(asked)}",
        "version": f"vLLM {asked.version}",
    }
    if plan.best is not None:
        share = plan.best.engine.gpu_memory_utilization
        words["gpu_memory_utilization"] = f"{100 * share:g} % of each card for vLLM"
    return words
