"""The pod of one replica."""

from __future__ import annotations

from typing import Any

from stoker.deploy.commented_yaml import Document, because, noted
from stoker.deploy.images import push_hint
from stoker.deploy.placement import placement
from stoker.deploy.quantity import kubernetes_size
from stoker.deploy.sizing import PRE_STOP_SECONDS
from stoker.deploy.types import CACHE, GID, PORT, Deployment, Sizing

_STARTUP_PERIOD = 5
_READY = {"path": "/v1/health/ready", "port": PORT}  # a number: podman does not know the port's name
_OF_A_SERVER = ("ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle")
_LIVE = {"path": "/v1/health/live", "port": PORT}


def pod_spec(server: Deployment, labels: dict[str, str]) -> Document:
    return {
        "serviceAccountName": server.name,
        **because("A Service named stoker would otherwise set STOKER_PORT=tcp://... in every pod."),
        "enableServiceLinks": False,
        **because(server.sizing.grace.why[0].upper() + server.sizing.grace.why[1:] + "."),
        "terminationGracePeriodSeconds": server.sizing.grace.value,
        **_security(),
        **placement(server, labels),
        "containers": [_container(server)],
        "volumes": _volumes(server),
    }


def follower_spec(server: Deployment, labels: dict[str, str]) -> Document:
    """Of a machine that another one leads."""
    spec = pod_spec(server, labels)
    (container,) = spec["containers"]
    kept = {name: value for name, value in container.items() if name not in _OF_A_SERVER}
    return {**spec, "containers": [kept]}


def _security() -> Document:
    return {
        **because(
            "The image's user is 1000 of group 0, and any other id of that group does as well. On OpenShift delete "
            "fsGroup: its own choice of user id and group is fine."
        ),
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _container(server: Deployment) -> Document:
    return {
        "name": "stoker",
        **noted(push_hint(server.image)),
        "image": server.image,
        **_arguments(server),
        **_environment(server),
        "ports": [{"name": "http", "containerPort": PORT}],
        **_resources(server.sizing),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **_probes(server.sizing),
        **because("Time to be taken out of the routes, before new requests are refused."),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_SECONDS)]}}},
        **because("Stoker writes why it failed to /dev/termination-log; what the kernel killed left only its log."),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "cache", "mountPath": CACHE},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _arguments(server: Deployment) -> Document:
    why = "The plan, spelled out: every replica is alike, also after an update. `stoker plan` explains each value."
    return {**(because(why) if len(server.arguments) > 1 else {}), "args": list(server.arguments)}


def _environment(server: Deployment) -> Document:
    return {
        "env": [
            {
                **because("For gated models: kubectl create secret generic huggingface --from-literal=token=..."),
                **_from_secret("HF_TOKEN", "huggingface", "token"),
            },
            {
                **because(
                    f"kubectl create secret generic {server.name} --from-literal=api-key=...: only who has the key may "
                    "use the server and read its metrics. Without the secret everybody in the cluster may."
                ),
                **_from_secret("STOKER_API_KEY", server.name, "api-key"),
            },
        ]
    }


def _from_secret(variable: str, secret: str, key: str) -> Document:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}


def _resources(sizing: Sizing) -> Document:
    memory, gpus = kubernetes_size(sizing.memory.value), str(sizing.gpus.value)
    extended = {"nvidia.com/gpu": gpus} if sizing.gpus.value else {}
    cores = str(sizing.cores.value)
    requests: dict[Any, Any] = {
        **because(f"CPU: {sizing.cores.why}."),
        "cpu": cores,
        **because(f"Memory: {sizing.memory.why}."),
        "memory": memory,
        **(because(f"GPUs: {sizing.gpus.why}.") if extended else {}),
        **extended,
    }
    limits = {**({"cpu": cores} if sizing.cores_limited else {}), "memory": memory, **extended}
    return {"resources": {"requests": requests, "limits": limits}}


def _probes(sizing: Sizing) -> Document:
    attempts = -(-sizing.startup.value // _STARTUP_PERIOD)
    return {
        **because(
            f"Up to {sizing.startup.value} s, {sizing.startup.why}. Nothing is lost when it is too short: the next "
            "start goes on with what is in the cache. /v1/health/startup shows how far it is."
        ),
        "startupProbe": _probe(_READY, _STARTUP_PERIOD, attempts),
        **because("200 only while the engine answers: it made a token within the last while."),
        "readinessProbe": _probe(_READY, 5, 2),
        **because("Only the API process: Stoker itself watches the engine and restarts it."),
        "livenessProbe": _probe(_LIVE, 10, 6),
    }


def _probe(get: dict[str, object], period: int, failures: int) -> Document:
    return {"httpGet": dict(get), "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _volumes(server: Deployment) -> list[Document]:
    shared = kubernetes_size(server.sizing.shared_memory.value)
    return [
        {"name": "cache", "persistentVolumeClaim": {"claimName": server.name}},
        {
            "name": "shm",
            **because(f"{server.sizing.shared_memory.why}. What is used counts as the pod's memory."),
            "emptyDir": {"medium": "Memory", "sizeLimit": shared},
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
