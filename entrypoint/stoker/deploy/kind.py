"""What a deployment asks of an engine kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.attributes import attribute

if TYPE_CHECKING:
    from stoker.plan.types import Plan

CPU = "cpu"
"""Beside the vendors of GPUs (stoker.probe.machine), what a plan may be for."""


@dataclass(frozen=True)
class HostNeeds:
    """What making one engine takes of the host. `memory` and `disk` are bytes; the disk's are those of the checkpoint,
    of what the build writes beside it and of the engine. `why_memory` and `why_disk` say where they come from.
    `cache_fraction`: of an engine whose KV cache is in the host's memory, the part of the free memory that it may take;
    0 for one whose cache is not."""

    memory: int
    why_memory: str
    disk: int
    why_disk: str
    cache_fraction: float


@dataclass(frozen=True)
class DeployPart:
    """How engines of a kind are deployed.

    images: the image that has the kind, for each of "cpu", "nvidia" and "amd" that one is made for: the tag of one of
        Stoker's, or a name with a tag, such as `registry.example.com/engine:1.0`.
    on_request: a deployment takes the kind only where the user names it (--engine) or no other serves the model: its
        image is for those who ask for it.
    build_rate: seconds that making an engine takes for each GB of 16-bit weights, on the long side.
    host: `module:attribute` of `(Plan) -> HostNeeds`.
    """

    images: Mapping[str, str]
    on_request: bool
    build_rate: float
    host: str

    def host_needs(self, plan: Plan) -> HostNeeds:
        find: Callable[[Plan], HostNeeds] = attribute(self.host)
        return find(plan)
