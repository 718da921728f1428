"""The documents for Kubernetes: one replica is one pod of a Deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoker.deploy.commented_yaml import Document, because
from stoker.deploy.pod import follower_spec, pod_spec
from stoker.deploy.quantity import kubernetes_size
from stoker.deploy.types import PORT
from stoker.deploy.types import Deployment as Server

_LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}


def kubernetes_documents(server: Server) -> Sequence[Document]:
    return (
        service_account(server),
        volume_claim(server),
        group(server) if server.nodes > 1 else deployment(server),
        service(server),
        disruption_budget(server),
        network_policy(server),
    )


def _head(server: Server, api: str, kind: str) -> Document:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": server.name, "labels": labels(server)}}


def labels(server: Server) -> dict[str, str]:
    return {"app.kubernetes.io/name": "stoker", "app.kubernetes.io/instance": server.name}


def service_account(server: Server) -> Document:
    return {
        **_head(server, "v1", "ServiceAccount"),
        **because("Stoker never talks to the Kubernetes API."),
        "automountServiceAccountToken": False,
    }


def volume_claim(server: Server) -> Document:
    mode, why = "ReadWriteOnce", "One node mounts it. Replicas on several nodes need ReadWriteMany (NFS, CephFS...)."
    if server.shared_cache:
        mode, why = "ReadWriteMany", "All replicas share it, from several nodes: one downloads and builds for all."
    return {
        **_head(server, "v1", "PersistentVolumeClaim"),
        "spec": {
            **because(why),
            "accessModes": [mode],
            **because(f"Models and engines: {server.sizing.cache.why}."),
            "resources": {"requests": {"storage": kubernetes_size(server.sizing.cache.value)}},
        },
    }


def deployment(server: Server) -> Document:
    pod = {
        "metadata": {"labels": labels(server), "annotations": _scraping()},
        "spec": pod_spec(server, labels(server)),
    }
    return {
        **_head(server, "apps/v1", "Deployment"),
        "spec": {
            "replicas": server.replicas,
            "selector": {"matchLabels": labels(server)},
            **_strategy(server),
            **because("A first start downloads and builds: slow is not stuck until the startup budget is spent."),
            "progressDeadlineSeconds": server.sizing.startup.value + 600,
            "template": pod,
        },
    }


def group(server: Server) -> Document:
    """A replica over several machines: pods that start and end together, of which the first serves."""
    head = {"labels": labels(server), "annotations": _scraping()}
    return {
        **_head(server, "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
        "spec": {
            "replicas": server.replicas,
            "leaderWorkerTemplate": {
                **because(f"{server.nodes} machines hold the model together; LWS gives each its rank."),
                "size": server.nodes,
                **because("None of them can go on without the others, so all start again when one does."),
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"metadata": head, "spec": pod_spec(server, labels(server))},
                **because("The others serve no API: nothing asks them whether they are ready."),
                "workerTemplate": {
                    "metadata": {"labels": labels(server)},
                    "spec": follower_spec(server, labels(server)),
                },
            },
        },
    }


def _scraping() -> dict[str, str]:
    return {"prometheus.io/scrape": "true", "prometheus.io/path": "/metrics", "prometheus.io/port": str(PORT)}


def _strategy(server: Server) -> Document:
    if server.replicas == 1 or server.sizing.gpus.value:
        why = "No pod beside the old one: there may be no second place for its "
        why += "GPUs" if server.sizing.gpus.value else "cache, which one node mounts"
        kept: dict[Any, Any] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        return {**because(f"{why}."), "strategy": kept if server.replicas > 1 else {"type": "Recreate"}}
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {**because("A new pod must be ready before an old one goes."), "strategy": surge}


def service(server: Server) -> Document:
    return {
        **_head(server, "v1", "Service"),
        "spec": {
            "selector": {**labels(server), **(_LEADER if server.nodes > 1 else {})},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "appProtocol": "http"}],
        },
    }


def disruption_budget(server: Server) -> Document:
    return {
        **_head(server, "policy/v1", "PodDisruptionBudget"),
        "spec": {
            **because("Not minAvailable: with one replica that would keep its node from ever being drained."),
            "maxUnavailable": 1,
            "selector": {"matchLabels": labels(server)},
        },
    }


def network_policy(server: Server) -> Document:
    among = [{"podSelector": {"matchLabels": labels(server)}}] if server.nodes > 1 else []
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return {
        **_head(server, "networking.k8s.io/v1", "NetworkPolicy"),
        "spec": {
            "podSelector": {"matchLabels": labels(server)},
            "policyTypes": ["Ingress", "Egress"],
            **because("The API and its metrics, from anywhere in the cluster; Triton listens on loopback only."),
            "ingress": [
                {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]},
                *({"from": [peer]} for peer in among),
            ],
            **because(
                "Names, and the model hub over HTTPS. With a filled cache and --offline nothing at all is needed."
            ),
            "egress": [
                {"ports": dns},
                {"ports": [{"protocol": "TCP", "port": 443}]},
                *({"to": [peer]} for peer in among),  # the machines of a group, whose ranks choose their ports
            ],
        },
    }
