"""What launching asks of an engine kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from stoker.attributes import attribute
from stoker.launch.capabilities import Capabilities, Tensors
from stoker.launch.settings import EngineSettings

if TYPE_CHECKING:
    from stoker.launch.servable import Servable
    from stoker.plan.types import Chosen, KvPool
    from stoker.store.engine import Engine


def alone(arguments: list[str]) -> list[str]:
    """One process: the command line as it is."""
    return arguments


@dataclass(frozen=True)
class Child:
    """How an engine runs in a child process of ours, without Triton (stoker.direct). `launcher` turns the child's
    command line into the one that is run, for an engine of several processes; `environment` is added to this
    process's own."""

    settings: EngineSettings
    launcher: Callable[[list[str]], list[str]] = alone
    environment: Mapping[str, str] = field(default_factory=dict)


class Follower(Protocol):
    """`run` ends with an EngineError, when this machine's part has ended or could not be loaded; `stop` ends it, from
    another thread."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class LaunchPart:
    """How engines of a kind are served. Texts in `module:attribute` form are imported when they are called, both with
    `(Engine, Chosen, KvPool, gpus)`; `gpus` are the UUIDs of the plan's devices, rank by rank.

    servable: gives a Servable, which the supervisor starts behind Triton.
    child: gives a Child, which stoker.direct starts without Triton.
    tensors: for each purpose that the kind serves, what its Triton model takes and gives. The API refuses what needs a
        tensor that is not among them.
    follower: gives a Follower, one machine's part of an engine that another leads; empty where an engine is on one.
    keeps_prefixes: engines keep the full blocks of what they computed, for prompts that begin alike.
    """

    servable: str
    child: str
    tensors: Mapping[str, Tensors]
    keeps_prefixes: bool
    follower: str

    def open(self, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> Servable:
        """EngineError for an engine that is not whole."""
        servable: Servable = self._made(self.servable, engine, chosen, kv, gpus)
        return servable

    def open_child(self, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> Child:
        child: Child = self._made(self.child, engine, chosen, kv, gpus)
        return child

    def open_follower(self, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> Follower:
        follower: Follower = self._made(self.follower, engine, chosen, kv, gpus)
        return follower

    def capabilities(self, purpose: str) -> Capabilities:
        return self.tensors[purpose].capabilities

    def _made(self, path: str, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str]) -> Any:
        return attribute(path)(engine, chosen, kv, tuple(gpus))
