"""What launching asks of an engine kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class LaunchPart:
    """How engines of a kind are served. Texts in `module:attribute` form are imported when they are called, both with
    `(Engine, Chosen, KvPool, gpus)`; `gpus` are the UUIDs of the plan's devices, rank by rank.

    servable: gives a Servable, which the supervisor starts behind Triton.
    child: gives a Child, which stoker.direct starts without Triton.
    tensors: for each purpose that the kind serves, what its Triton model takes and gives. The API refuses what needs a
        tensor that is not among them.
    keeps_prefixes: engines keep the full blocks of what they computed, for prompts that begin alike.
    """

    servable: str
    child: str
    tensors: Mapping[str, Tensors]
    keeps_prefixes: bool

    def open(self, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> Servable:
        """EngineError for an engine that is not whole."""
        servable: Servable = self._made(self.servable, engine, chosen, kv, gpus)
        return servable

    def open_child(self, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> Child:
        child: Child = self._made(self.child, engine, chosen, kv, gpus)
        return child

    def capabilities(self, purpose: str) -> Capabilities:
        return self.tensors[purpose].capabilities

    def _made(self, path: str, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str]) -> Any:
        return attribute(path)(engine, chosen, kv, tuple(gpus))
