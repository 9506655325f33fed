"""What a pod that serves needs: its container, its probes, its volumes."""

from __future__ import annotations

import math

from fitcalc.report.deploy.deployment import PORT, STARTUP_S, Deployment
from fitcalc.report.deploy.text import Yaml

CACHE = "/root/.cache/huggingface"
HUB_ACCESS = (
    "HF_TOKEN comes from a Secret, for gated models: "
    "kubectl create secret generic hf-token --from-literal=token=..."
)
_PERIOD_S = 10


def server(deployment: Deployment, name: str) -> dict[str, object]:
    """Return the container of one server."""
    return {
        "name": name,
        "image": deployment.image,
        "command": ["vllm", "serve"],
        "args": [literal(word) for word in deployment.words[2:]],
        "env": [token()],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": gpu_resources(deployment),
        **probes(),
        "volumeMounts": [
            {"name": "model-cache", "mountPath": CACHE},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - what ranks talk through
        ],
    }


def literal(word: str) -> str:
    """Return a word that Kubernetes hands on as it is: ``$(`` would name a variable."""
    return word.replace("$(", "$$(")


def token() -> Yaml:
    """Return the variable with the hub's token, from a Secret; public models need none."""
    source = {"secretKeyRef": {"name": "hf-token", "key": "token", "optional": True}}
    return {"name": "HF_TOKEN", "valueFrom": source}


def gpu_resources(deployment: Deployment) -> Yaml:
    """Return the GPUs of one server, and the host's memory that offloading takes."""
    engine = deployment.choice.engine
    held = {deployment.resource: str(deployment.gpus)}
    host = math.ceil(engine.cpu_offload_gb * engine.gpus + (engine.kv_offloading_size or 0.0))
    memory = {"memory": f"{host + deployment.shm_gib}Gi"} if host else {}
    return {"requests": held | memory, "limits": dict(held)}


def probes() -> dict[str, object]:
    """Return the probes: a long start, then short ones; vLLM answers /health when it serves."""
    health = {"path": "/health", "port": PORT}
    return {
        "startupProbe": {
            "httpGet": dict(health),
            "periodSeconds": _PERIOD_S,
            "failureThreshold": STARTUP_S // _PERIOD_S,
        },
        "readinessProbe": {"httpGet": dict(health), "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            "httpGet": dict(health),
            "periodSeconds": _PERIOD_S,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def volumes(deployment: Deployment, claim: str) -> list[Yaml]:
    """Return the checkpoint's cache and the memory that ranks share."""
    shared = {"medium": "Memory", "sizeLimit": f"{deployment.shm_gib}Gi"}
    return [
        {"name": "model-cache", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "shm", "emptyDir": shared},
    ]


def cache_claim(deployment: Deployment, claim: str) -> Yaml:
    """Return the claim of a volume that holds the checkpoint, shared by all servers."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "labels": labels(deployment)},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": f"{deployment.disk_gib}Gi"}},
        },
    }


def labels(deployment: Deployment) -> dict[str, str]:
    """Return the labels by which parts find each other."""
    return {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": deployment.name}


def node_words(deployment: Deployment) -> str:
    """Say which nodes are meant."""
    place = f" ({deployment.choice.price_source})" if deployment.choice.price_source else ""
    return (
        f"Nodes: {deployment.gpu.name}, at least {deployment.gpus} free on one node{place}; add a "
        "nodeSelector or tolerations if the cluster has other GPUs"
    )
