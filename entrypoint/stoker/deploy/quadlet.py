"""A quadlet: a container that systemd runs through podman (podman-systemd.unit(5), podman 4.5 or newer)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from stoker.deploy.commented_yaml import comment
from stoker.deploy.images import push_hint
from stoker.deploy.quantity import docker_size
from stoker.deploy.types import CACHE, MEMLOCK, PORT, STACK, Deployment, Sizing

_NOT_HEALED = "64 65 66 69 73 77"
"""Exit codes of stoker.errors that starting again does not help against."""


def quadlet_unit(server: Deployment) -> str:
    """The text of `NAME.container`."""
    where = f"~/.config/containers/systemd/{server.name}.container (or /etc/containers/systemd/)"
    head = [*comment(f"Save as {where}, then: systemctl --user daemon-reload && systemctl --user start {server.name}")]
    return "\n".join(
        [*head, *_unit(server), "", *_container(server), "", *_service(server.sizing), "", *_install(), ""]
    )


def _unit(server: Deployment) -> Iterator[str]:
    yield "[Unit]"
    yield f"Description=Stoker: {server.plan.model.served_name}"
    yield "Wants=network-online.target"
    yield "After=network-online.target"


def _container(server: Deployment) -> Iterator[str]:
    sizing = server.sizing
    yield "[Container]"
    yield f"ContainerName={server.name}"
    yield from comment(push_hint(server.image))
    yield f"Image={_full_name(server.image)}"
    yield from comment("The plan, spelled out; `stoker plan` explains each value.")
    yield f"Exec={_escaped(shlex.join(server.arguments))}"
    yield f"PublishPort=127.0.0.1:{server.port}:{PORT}"
    yield from comment(f"Models and engines: {sizing.cache.why}.")
    yield f"Volume=stoker:{CACHE}"
    if server.directory:
        yield f"Volume={_escaped(f'{server.directory}:{server.arguments[0]}:ro')}"
    yield from comment("For gated models: printf %s TOKEN | podman secret create huggingface -, and uncomment")
    yield "# Secret=huggingface,type=env,target=HF_TOKEN"
    yield from comment(
        "Beyond this host: drop the address above, and let only who has the key in, by a secret as before"
    )
    yield "# Secret=stoker-api-key,type=env,target=STOKER_API_KEY"
    yield from _limits(sizing)
    yield "ReadOnly=true"
    yield "DropCapability=all"
    yield "NoNewPrivileges=true"


def _limits(sizing: Sizing) -> Iterator[str]:
    if sizing.gpus.value:
        yield from comment(f"{sizing.gpus.value} GPUs: {sizing.gpus.why}. Made known by `nvidia-ctk cdi generate`.")
        yield from (f"AddDevice=nvidia.com/gpu={index}" for index in range(sizing.gpus.value))
        yield f"Ulimit=memlock={MEMLOCK}:{MEMLOCK}"
        yield f"Ulimit=stack={STACK}:{STACK}"
    yield from comment(f"{sizing.shared_memory.why}.")
    yield f"ShmSize={docker_size(sizing.shared_memory.value)}"
    cpus = f" --cpus={sizing.cores.value}" if sizing.cores_limited else ""
    yield from comment(f"Memory: {sizing.memory.why}." + (f" CPU: {sizing.cores.why}." if cpus else ""))
    yield f"PodmanArgs=--memory={docker_size(sizing.memory.value)}{cpus} --stop-timeout={sizing.grace.value}"


def _service(sizing: Sizing) -> Iterator[str]:
    yield "[Service]"
    yield "Restart=on-failure"
    yield from comment("Starting again heals none of these: see docs/errors.md.")
    yield f"RestartPreventExitStatus={_NOT_HEALED}"
    yield from comment(f"{sizing.grace.why}.")
    yield f"TimeoutStopSec={sizing.grace.value + 10}"
    yield from comment("The image may have to be pulled first.")
    yield "TimeoutStartSec=900"


def _install() -> Iterator[str]:
    yield "[Install]"
    yield "WantedBy=default.target"


def _full_name(image: str) -> str:
    """Quadlet asks for names that say where the image is from; a name without a registry is this host's own."""
    return image if "/" in image else f"localhost/{image}"


def _escaped(text: str) -> str:
    """systemd expands % and $ in these lines."""
    return text.replace("%", "%%").replace("$", "$$")
