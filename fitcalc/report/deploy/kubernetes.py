"""Plain Kubernetes: a Deployment, its Service, budget and cache, and an autoscaler on the queue."""

from __future__ import annotations

from collections.abc import Mapping

from fitcalc.report.deploy import pods
from fitcalc.report.deploy.deployment import PORT, STARTUP_S, Deployment
from fitcalc.report.deploy.text import Yaml, yaml_text

_METRIC = "vllm_num_requests_waiting"


def kubernetes_files(deployment: Deployment) -> Mapping[str, str]:
    """Write the manifests, and the rule by which the autoscaler sees vLLM's queue."""
    claim = f"{deployment.name}-cache"
    header = deployment.header(
        pods.HUB_ACCESS,
        pods.node_words(deployment),
        "The cache is read by all servers (ReadWriteMany). Where the cluster has no such volume, "
        "replace it by an emptyDir: every server then loads the checkpoint itself",
        f"A server has {STARTUP_S // 60} minutes to load; raise startupProbe.failureThreshold for "
        "slow disks",
        f"The HorizontalPodAutoscaler needs Prometheus and prometheus-adapter with "
        f"prometheus-adapter.yaml, which offers {_METRIC}. It keeps the planned servers and adds "
        f"more when more than {deployment.queue} wait at each: they would miss the promised TTFT",
    )
    manifests = (
        pods.cache_claim(deployment, claim),
        _deployment(deployment, claim),
        _service(deployment),
        _budget(deployment),
        _autoscaler(deployment),
    )
    adapter = deployment.header("Values of the Helm chart prometheus-community/prometheus-adapter")
    return {
        "kubernetes.yaml": yaml_text(header, *manifests),
        "prometheus-adapter.yaml": yaml_text(adapter, _rule()),
    }


def _deployment(deployment: Deployment, claim: str) -> Yaml:
    labels = pods.labels(deployment)
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": deployment.name, "labels": labels},
        "spec": {
            "replicas": deployment.choice.replicas,
            "progressDeadlineSeconds": 2 * STARTUP_S,
            # A new server needs GPUs that only an old one can give up.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "selector": {"matchLabels": dict(labels)},
            "template": {
                "metadata": {"labels": dict(labels), "annotations": scrape},
                "spec": {
                    "enableServiceLinks": False,  # else a Service "vllm" would set VLLM_PORT
                    "terminationGracePeriodSeconds": 120,
                    "containers": [pods.server(deployment, "vllm")],
                    "volumes": pods.volumes(deployment, claim),
                },
            },
        },
    }


def _service(deployment: Deployment) -> Yaml:
    labels = pods.labels(deployment)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": deployment.name, "labels": labels},
        "spec": {
            "selector": dict(labels),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    }


def _budget(deployment: Deployment) -> Yaml:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": deployment.name, "labels": pods.labels(deployment)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": pods.labels(deployment)}},
    }


def _autoscaler(deployment: Deployment) -> Yaml:
    waiting = {
        "metric": {"name": _METRIC},
        "target": {"type": "AverageValue", "averageValue": str(deployment.queue)},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": deployment.name, "labels": pods.labels(deployment)},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment.name,
            },
            "minReplicas": deployment.choice.replicas,
            "maxReplicas": deployment.most_replicas,
            "metrics": [{"type": "Pods", "pods": waiting}],
            # A server that has just loaded should not leave at the first quiet minute.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": STARTUP_S}},
        },
    }


def _rule() -> Yaml:
    """Return the adapter's rule: metrics of Kubernetes bear no colon."""
    rule = {
        "seriesQuery": '{__name__="vllm:num_requests_waiting",namespace!="",pod!=""}',
        "resources": {
            "overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
        },
        "name": {"matches": "vllm:num_requests_waiting", "as": _METRIC},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
    return {"rules": {"custom": [rule]}}
