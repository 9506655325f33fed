"""Every default that a plan rests on, in words."""

from __future__ import annotations

from fitcalc.planning.choice import Plan
from fitcalc.report.words import count, milliseconds


def assumed_words(plan: Plan, note: str) -> str:
    """Name what nobody said; empty where everything was said."""
    known = _words(plan)
    words = [known[name] for name in plan.question.defaults if name in known]
    said = "; ".join([note, *words] if note else words)
    return f"Assumed, because nobody said otherwise: {said}." if said else ""


def _words(plan: Plan) -> dict[str, str]:
    """Put each default in words; what the note or the answer says anyway is left out."""
    asked, slo = plan.question, plan.question.slo
    words = {
        "ttft_ms": f"first token within {milliseconds(slo.ttft_ms)}",
        "itl_ms": f"at most {milliseconds(slo.itl_ms)} between tokens",
        "percentile": f"both kept for {slo.percentile:g} % of requests and gaps",
        "headroom": f"{100 * asked.headroom:g} % of the load within the promise left free",
        "gpus": f"any of {count(len(asked.gpus), 'GPU type')}",
        "quantization": f"weights in any of {', '.join(asked.weight_formats)}",
        "version": f"vLLM {asked.version}",
    }
    if plan.best is not None:
        share = plan.best.engine.gpu_memory_utilization
        words["gpu_memory_utilization"] = f"{100 * share:g} % of each card for vLLM"
    return words
