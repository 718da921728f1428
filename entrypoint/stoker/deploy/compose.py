"""A compose file, for `docker compose` and podman-compose."""

from __future__ import annotations

from typing import Any

from stoker.deploy.commented_yaml import Document, because, noted
from stoker.deploy.images import push_hint
from stoker.deploy.quantity import docker_size
from stoker.deploy.types import CACHE, MEMLOCK, PORT, STACK, Deployment, Sizing


def compose_document(server: Deployment) -> Document:
    return {
        "name": server.name,
        "services": {"stoker": _service(server)},
        "volumes": {"cache": {**because(f"Models and engines: {server.sizing.cache.why}."), "name": "stoker"}},
    }


def _service(server: Deployment) -> Document:
    sizing = server.sizing
    mounts = [f"cache:{CACHE}"]
    if server.directory:
        mounts.append(f"{server.directory}:{server.arguments[0]}:ro")
    return {
        **noted(push_hint(server.image)),
        "image": server.image,
        **because("The plan, spelled out; `stoker plan` explains each value."),
        "command": list(server.arguments),
        **because("Handed on where they are set: for gated models, and the keys that clients must show."),
        "environment": ["HF_TOKEN", "STOKER_API_KEY"],
        **because("Beyond this host: drop the address, and set STOKER_API_KEY."),
        "ports": [f"127.0.0.1:{server.port}:{PORT}"],
        "volumes": mounts,
        **because(f"{sizing.shared_memory.why}."),
        "shm_size": docker_size(sizing.shared_memory.value),
        **_gpu_limits(sizing),
        **_resources(sizing),
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        **because(f"{sizing.grace.why}."),
        "stop_grace_period": f"{sizing.grace.value}s",
        "restart": "unless-stopped",
    }


def _gpu_limits(sizing: Sizing) -> Document:
    if not sizing.gpus.value:
        return {}
    return {"ulimits": {"memlock": MEMLOCK, "stack": STACK}}


def _resources(sizing: Sizing) -> Document:
    limits: dict[Any, Any] = {
        **because(f"Memory: {sizing.memory.why}."),
        "memory": docker_size(sizing.memory.value),
    }
    if sizing.cores_limited:
        limits = {**because(f"CPU: {sizing.cores.why}."), "cpus": str(sizing.cores.value), **limits}
    resources: dict[Any, Any] = {"limits": limits}
    if sizing.gpus.value:
        device = {"driver": "nvidia", "count": sizing.gpus.value, "capabilities": ["gpu"]}
        resources["reservations"] = {**because(f"GPUs: {sizing.gpus.why}."), "devices": [device]}
    return {"deploy": {"resources": resources}}
