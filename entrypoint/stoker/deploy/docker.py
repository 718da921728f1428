"""A `docker run` command with its reasons; podman takes the same, except for how it names GPUs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from stoker.deploy.commented_yaml import comment
from stoker.deploy.images import push_hint
from stoker.deploy.quantity import docker_size
from stoker.deploy.types import CACHE, MEMLOCK, PORT, STACK, Deployment, Sizing


def docker_script(server: Deployment) -> str:
    """A shell script: comments, then one command."""
    reasons = [*_reasons(server.sizing), push_hint(server.image)]
    lines = ["#!/bin/sh", *(line for text in reasons if text for line in comment(text))]
    head = f"docker run --detach --name {shlex.quote(server.name)}"
    parts = [head, *_options(server), shlex.quote(server.image), shlex.join(server.arguments)]
    return "\n".join([*lines, " \\\n  ".join(parts), ""])


def _reasons(sizing: Sizing) -> Iterator[str]:
    if sizing.gpus.value:
        yield f"--gpus: {sizing.gpus.why}. With podman: --device nvidia.com/gpu=all."
    if sizing.cores_limited:
        yield f"--cpus: {sizing.cores.why}."
    yield f"--memory: {sizing.memory.why}."
    yield f"--shm-size: {sizing.shared_memory.why}."
    yield f"--stop-timeout: {sizing.grace.why}."
    yield f"The volume `stoker` keeps models and engines: {sizing.cache.why}."
    yield "HF_TOKEN (for gated models) and STOKER_API_KEY are passed on when they are set."
    yield "--publish: on this host only. Beyond it: drop the address, and set STOKER_API_KEY."


def _options(server: Deployment) -> Iterator[str]:
    sizing = server.sizing
    yield f"--publish 127.0.0.1:{server.port}:{PORT} --volume stoker:{CACHE} --env HF_TOKEN --env STOKER_API_KEY"
    if server.directory:
        yield f"--volume {shlex.quote(f'{server.directory}:{server.arguments[0]}:ro')}"
    if sizing.gpus.value:
        yield f"--gpus {sizing.gpus.value} --ulimit memlock={MEMLOCK} --ulimit stack={STACK}"
    cpus = f"--cpus {sizing.cores.value} " if sizing.cores_limited else ""
    yield f"{cpus}--memory {docker_size(sizing.memory.value)} --shm-size {docker_size(sizing.shared_memory.value)}"
    yield "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges"
    yield f"--stop-timeout {sizing.grace.value} --restart unless-stopped"
