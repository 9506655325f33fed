"""Every target, what writes it, and when it cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from fitcalc.answers import Row
from fitcalc.catalog.gpu import Vendor
from fitcalc.errors import InvalidValue
from fitcalc.planning.choice import Choice, Plan
from fitcalc.report.deploy.bench import bench_files
from fitcalc.report.deploy.compose import compose_files
from fitcalc.report.deploy.deployment import Deployment
from fitcalc.report.deploy.engines import sglang_files, trtllm_files, vllm_files
from fitcalc.report.deploy.kserve import kserve_files, llm_d_files
from fitcalc.report.deploy.kubernetes import kubernetes_files
from fitcalc.report.deploy.settings import Unmapped, mapped
from fitcalc.report.deploy.skypilot import accelerator, skypilot_files


class Target(StrEnum):
    """What a choice can be written for."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    COMPOSE = "compose"
    KUBERNETES = "k8s"
    KSERVE = "kserve"
    LLM_D = "llm-d"
    SKYPILOT = "skypilot"
    BENCH = "bench"


class Manifests(Row):
    """A choice, ready to run.

    Attributes:
        files: Name and text of each file.
        unmapped: By engine, vLLM's settings that it does not have, and why.
        left_out: Targets that cannot be written for this choice, and why.
    """

    files: Mapping[str, str]
    unmapped: Mapping[str, tuple[Unmapped, ...]]
    left_out: Mapping[str, str]


_WRITERS: Mapping[Target, Callable[[Deployment], Mapping[str, str]]] = {
    Target.VLLM: vllm_files,
    Target.SGLANG: sglang_files,
    Target.TRTLLM: trtllm_files,
    Target.COMPOSE: compose_files,
    Target.KUBERNETES: kubernetes_files,
    Target.KSERVE: kserve_files,
    Target.LLM_D: llm_d_files,
    Target.SKYPILOT: skypilot_files,
    Target.BENCH: bench_files,
}
_ENGINES = (Target.SGLANG, Target.TRTLLM)
_ANYWHERE = (Target.VLLM, Target.SGLANG, Target.BENCH)
"""Targets that name neither an image nor a cluster."""
_NVIDIA_ONLY = (Target.TRTLLM, Target.SKYPILOT)


def manifests(
    plan: Plan,
    targets: Sequence[Target | str] | None = None,
    *,
    choice: Choice | None = None,
) -> Manifests:
    """Write a choice of a plan as files that start it, and as the test of its claim.

    Args:
        plan: The plan.
        targets: What to write; ``None`` = all that can be.
        choice: Which choice; ``None`` = the best.

    Raises:
        InvalidValue: the plan has no choice, or a target that was asked for cannot be written.
    """
    chosen = choice or plan.best
    if chosen is None:
        raise InvalidValue("plan", "no best choice", "relax the question until something fits")
    deployment = Deployment(plan.question, chosen)
    wanted = [_target(name) for name in targets] if targets is not None else list(Target)
    left_out = {t: why for t in wanted if (why := refusal(t, deployment)) is not None}
    if left_out and targets is not None:
        target, why = next(iter(left_out.items()))
        raise InvalidValue("target", target.value, why)
    kept = [t for t in wanted if t not in left_out]
    return Manifests(
        files={name: text for t in kept for name, text in _WRITERS[t](deployment).items()},
        unmapped={t: tuple(mapped(deployment, t).unmapped) for t in kept if t in _ENGINES},
        left_out=left_out,
    )


def refusal(target: Target, deployment: Deployment) -> str | None:
    """Say why a target cannot be written for a choice, or ``None`` if it can."""
    if target in _ANYWHERE:
        return None
    gpu = deployment.gpu
    wrong_maker = gpu.vendor is not Vendor.NVIDIA
    reasons = {
        f"choose a NVIDIA GPU; {gpu.name} is none": wrong_maker and target in _NVIDIA_ONLY,
        f"build an image of vLLM for {gpu.name}; no public one is in the tables": (
            deployment.vendor is None
        ),
        f"use LeaderWorkerSet or Ray: a server of {deployment.gpus} GPUs spans nodes of "
        f"{gpu.gpus_per_node} {gpu.id}": (
            target is not Target.TRTLLM and deployment.gpus > gpu.gpus_per_node
        ),
        f"choose another GPU; SkyPilot's name of {gpu.id} is not in the tables": (
            target is Target.SKYPILOT and accelerator(gpu.id) is None
        ),
    }
    return next((why for why, holds in reasons.items() if holds), None)


def _target(name: Target | str) -> Target:
    try:
        return Target(name)
    except ValueError:
        known = ", ".join(t.value for t in Target)
        raise InvalidValue("target", name, f"use one of {known}") from None
