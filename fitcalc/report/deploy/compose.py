"""Docker Compose: one server on one machine."""

from __future__ import annotations

from collections.abc import Mapping

from fitcalc.catalog.gpu import Vendor
from fitcalc.report.deploy.deployment import PORT, STARTUP_S, Deployment
from fitcalc.report.deploy.pods import CACHE
from fitcalc.report.deploy.text import Yaml, yaml_text

_HEALTH = f"import urllib.request as u; u.urlopen('http://localhost:{PORT}/health', timeout=5)"


def compose_files(deployment: Deployment) -> Mapping[str, str]:
    """Write one server of the plan."""
    replicas = deployment.choice.replicas
    header = deployment.header(
        f"One server of {replicas} (GPUs: {deployment.gpus}): run it {replicas} times, "
        "behind a load balancer"
        if replicas > 1
        else "The one server of the plan",
        "HF_TOKEN is read from the environment or from .env beside this file; public models need "
        "none",
    )
    service: dict[str, object] = {
        "image": deployment.image,
        "entrypoint": ["vllm", "serve"],
        "command": [word.replace("$", "$$") for word in deployment.words[2:]],
        "ports": [f"{PORT}:{PORT}"],
        "environment": {"HF_TOKEN": "${HF_TOKEN:-}"},
        "volumes": [f"model-cache:{CACHE}"],
        "shm_size": f"{deployment.shm_gib}gb",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", _HEALTH],
            "interval": "15s",
            "timeout": "10s",
            "retries": 4,
            "start_period": f"{STARTUP_S}s",
        },
        "restart": "unless-stopped",
        **_gpus(deployment),
    }
    file = {
        "name": deployment.name,
        "services": {"vllm": service},
        "volumes": {"model-cache": {}},
    }
    return {"compose.yaml": yaml_text(header, file)}


def _gpus(deployment: Deployment) -> Yaml:
    """Return how a container sees the GPUs of its maker."""
    if deployment.gpu.vendor is Vendor.AMD:
        return {
            "devices": ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"],
            "group_add": ["video"],
            "cap_add": ["SYS_PTRACE"],
            "security_opt": ["seccomp=unconfined"],
        }
    device = {"driver": "nvidia", "count": deployment.gpus, "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
