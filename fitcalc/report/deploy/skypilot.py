"""SkyPilot: a task that `sky serve up` keeps at the planned number of servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fitcalc.report.deploy.deployment import PORT, STARTUP_S, Deployment, targets
from fitcalc.report.deploy.text import shell_text, yaml_text


def accelerator(gpu: str) -> str | None:
    """Return SkyPilot's name of a GPU, ``None`` where the table has none."""
    table = cast("Mapping[str, Mapping[str, str]]", targets()["skypilot"])
    return table["accelerators"].get(gpu)


def skypilot_files(deployment: Deployment) -> Mapping[str, str]:
    """Write the task with its service."""
    header = deployment.header(
        "sky serve up skypilot.yaml --secret HF_TOKEN; leave the token out for public models",
        "SkyPilot adds servers above the planned number when each gets more than its share of "
        "requests",
    )
    policy: dict[str, object] = {
        "min_replicas": deployment.choice.replicas,
        "max_replicas": deployment.most_replicas,
    }
    rate = deployment.choice.prediction.requests_per_s
    if deployment.most_replicas > deployment.choice.replicas:
        policy["target_qps_per_replica"] = float(f"{rate:.4g}")
    task: dict[str, object] = {
        "name": deployment.name,
        "resources": {
            "accelerators": f"{accelerator(deployment.choice.gpu)}:{deployment.gpus}",
            "ports": PORT,
            "disk_size": max(256, 2 * deployment.disk_gib),
        },
        "secrets": {"HF_TOKEN": ""},
        "service": {
            "readiness_probe": {"path": "/health", "initial_delay_seconds": STARTUP_S},
            "replica_policy": policy,
        },
        "setup": f"pip install 'vllm=={deployment.version}'\n",
        "run": f"{shell_text(deployment.words, start=3)}\n",
    }
    return {"skypilot.yaml": yaml_text(header, task)}
