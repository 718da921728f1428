"""What a manifest is made from."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.plan.types import Plan

PORT = 8000
CACHE = "/cache"
GID = 0
"""The group of the images' user."""
MEMLOCK, STACK = -1, 64 << 20
"""Limits that NVIDIA's images ask for: pinned memory without one, and stacks of 64 MiB."""


@dataclass(frozen=True)
class Sized:
    value: int
    why: str


@dataclass(frozen=True)
class Sizing:
    """Sizes are bytes. `memory` is the host's and contains `shared_memory`; `startup` and `grace` are seconds.

    `cores_limited`: the engine makes a thread for each core, so that the limit must be the request.
    """

    gpus: Sized
    cores: Sized
    memory: Sized
    shared_memory: Sized
    cache: Sized
    startup: Sized
    grace: Sized
    cores_limited: bool


@dataclass(frozen=True)
class Deployment:
    """`arguments` are those of the image; `port` is where a host publishes the container's PORT.

    `directory` is the model's own, where it is one of this host: to be mounted at its name in `arguments`.
    """

    name: str
    plan: Plan
    sizing: Sizing
    image: str
    arguments: tuple[str, ...]
    replicas: int = 1
    port: int = PORT
    directory: str = ""

    @property
    def shared_cache(self) -> bool:
        """Whether several nodes mount the cache."""
        return self.replicas > 1 or self.nodes > 1

    @property
    def nodes(self) -> int:
        """Machines that one replica takes."""
        return self.plan.chosen.nodes
