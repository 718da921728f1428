"""Which nodes a pod may or should run on. Numbers of the GPU, never its name."""

from __future__ import annotations

from typing import Any

from stoker.deploy.commented_yaml import Document, because
from stoker.deploy.types import Deployment
from stoker.probe.machine import Gpu

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MIB = 1 << 20


def placement(server: Deployment, labels: dict[str, str]) -> Document:
    machine, chosen = server.plan.machine, server.plan.chosen
    gpus = [gpu for gpu in machine.gpus if gpu.index in chosen.devices]
    architecture = _ARCHITECTURES.get(machine.cpu.architecture) if machine.host_known else None
    return {
        **({"nodeSelector": {"kubernetes.io/arch": architecture}} if architecture else {}),
        **(_gpu_nodes(gpus[0], server.plan.memory.total) if gpus else {}),
        **(_spread(labels) if server.replicas > 1 else {}),
    }


def _gpu_nodes(gpu: Gpu, needed: int) -> Document:
    major, minor = gpu.compute_capability
    wanted = [
        {"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": [str(major)]},
        {"key": "nvidia.com/gpu.compute.minor", "operator": "In", "values": [str(minor)]},
        {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": [str(needed // _MIB)]},
    ]
    preferred: dict[Any, Any] = {"weight": 100, "preference": {"matchExpressions": wanted}}
    return {
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        **because(
            "The engine is made for this kind of GPU: another would build its own, or be too small. The labels are set "
            "by NVIDIA's GPU feature discovery; with it, turn `preferred...` into `required...`."
        ),
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}},
    }


def _spread(labels: dict[str, str]) -> Document:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    return {"topologySpreadConstraints": [spread]}
