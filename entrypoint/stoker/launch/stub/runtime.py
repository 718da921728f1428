"""What the engine loop needs of a way to run a graph. One thread owns a runtime and everything that it gave out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings


@dataclass(frozen=True)
class Output:
    """What a sequence gained since it was last read. `out_of_memory`: it ended early, its KV cache did not fit.
    `refused`: why the engine will not go on with it; it has ended then. `reused_blocks`: of its prompt, in the cache
    before it came, where the engine tells. `embedding`: all that a model gives whose output is no text."""

    ids: Sequence[int]
    log_probs: Sequence[float]
    ended: bool = False
    out_of_memory: bool = False
    refused: str = ""
    reused_blocks: int | None = None
    embedding: Sequence[float] | None = None


class RunningSequence(Protocol):
    def read(self) -> Output: ...

    def cancel(self) -> None:
        """Gives its KV cache back before or in the next step."""
        ...


class Runtime(Protocol):
    """`add` raises RequestRefusedError for a request that this runtime cannot take; `step` raising means that the
    runtime is broken for everybody and must be opened anew. False from `step` says that it only waited, which is no
    sign of life."""

    def add(self, generation: Generation) -> RunningSequence: ...

    def step(self) -> bool | None: ...

    def close(self) -> None: ...


def named(runtime: str) -> Callable[[EngineSettings], Runtime]:
    """The callable that "module:attribute" names."""
    module, _, attribute = runtime.partition(":")
    opener: Callable[[EngineSettings], Runtime] = getattr(importlib.import_module(module), attribute)
    return opener
