"""KServe: an InferenceService, and an LLMInferenceService, which runs llm-d's router."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from fitcalc.report.deploy import pods
from fitcalc.report.deploy.deployment import Deployment
from fitcalc.report.deploy.text import Yaml, yaml_text


def kserve_files(deployment: Deployment) -> Mapping[str, str]:
    """Write an InferenceService with vLLM as its own predictor."""
    claim = f"{deployment.name}-cache"
    header = deployment.header(
        "Needs KServe 0.16 or newer in Standard mode; before it the mode was RawDeployment",
        pods.HUB_ACCESS,
        pods.node_words(deployment),
        "The number of servers is fixed: KServe's default would scale them by CPU load. To scale "
        "by vLLM's queue, set autoscalerClass to keda and give predictor.autoScaling",
    )
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": deployment.name,
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "none",
            },
        },
        "spec": {"predictor": _predictor(deployment, claim)},
    }
    return {"kserve.yaml": yaml_text(header, pods.cache_claim(deployment, claim), service)}


def _predictor(deployment: Deployment, claim: str) -> Yaml:
    replicas = deployment.choice.replicas
    return {
        "minReplicas": replicas,
        "maxReplicas": replicas,
        "deploymentStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
        },
        "containers": [pods.server(deployment, "kserve-container")],
        "volumes": pods.volumes(deployment, claim),
    }


def llm_d_files(deployment: Deployment) -> Mapping[str, str]:
    """Write an LLMInferenceService: KServe loads the checkpoint, llm-d's scheduler routes."""
    header = deployment.header(
        "llm-d by KServe's LLMInferenceService (0.16 or newer with llmisvc, Gateway API and its "
        "inference extension installed): llm-d's own Helm chart ended with llm-d 0.7",
        "KServe's template starts `vllm serve` on the checkpoint it has loaded; the flags are "
        "added by VLLM_ADDITIONAL_ARGS. Its image sets vLLM's version: this file names vLLM's own",
        pods.node_words(deployment),
    )
    main = {
        "name": "main",
        "image": deployment.image,
        "env": [
            {
                "name": "VLLM_ADDITIONAL_ARGS",
                "value": pods.literal(shlex.join(deployment.flags)),
            },
            pods.token(),
        ],
        "resources": pods.gpu_resources(deployment),
    }
    shared = {"medium": "Memory", "sizeLimit": f"{deployment.shm_gib}Gi"}
    service: Yaml = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LLMInferenceService",
        "metadata": {"name": deployment.name},
        "spec": {
            "model": {"uri": f"hf://{deployment.model}", "name": deployment.model},
            "replicas": deployment.choice.replicas,
            "template": {
                "containers": [main],
                "volumes": [{"name": "dshm", "emptyDir": shared}],
            },
            "router": {"gateway": {}, "route": {}, "scheduler": {}},
        },
    }
    return {"llm-d.yaml": yaml_text(header, service)}
