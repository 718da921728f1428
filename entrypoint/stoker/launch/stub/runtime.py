"""What the engine loop needs of a way to run a graph. One thread owns a runtime and everything that it gave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from stoker.attributes import attribute
from stoker.launch.generation import Generation, RequestRefusedError, Scores, Top
from stoker.launch.settings import EngineSettings

if TYPE_CHECKING:
    from stoker.launch.stub.wire import Sender


@dataclass(frozen=True)
class Output:
    """What a sequence gained since it was last read. `out_of_memory`: it ended early, its KV cache did not fit.
    `refused`: why the engine will not go on with it; it has ended then. `reused_blocks`: of its prompt, in the cache
    before it came, where reported. `embedding`: all that a model gives whose output is no text. `top` runs
    parallel to `ids`, and `prompt` comes once, where they were asked for."""

    ids: Sequence[int]
    log_probs: Sequence[float]
    ended: bool = False
    out_of_memory: bool = False
    refused: str = ""
    reused_blocks: int | None = None
    embedding: Sequence[float] | npt.NDArray[np.float32] | None = None
    top: Sequence[Top] = ()
    prompt: Scores | None = None

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.ended or bool(self.refused) or self.embedding is not None


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


class Driver(Protocol):
    """What the Triton model hands its requests to: the engine loop, which steps a Runtime, or a class of an engine that
    steps by itself. Such a class is what the settings name as the runtime, with `drives` set to true, and is called
    with what EngineLoop's caller would give it: the settings, `observe` and `beat`."""

    def start(self) -> None: ...

    def submit(self, generation: Generation, sender: Sender) -> None: ...

    def open_channel(self, channel: int, sender: Sender) -> None: ...

    def submit_to(self, channel: int, handle: int, generation: Generation) -> None: ...

    def refuse_in(self, channel: int, handle: int, message: str) -> None: ...

    def stop_request(self, name: str | tuple[int, int]) -> None: ...

    def stop(self) -> None: ...


class Guarded:
    """A runtime that is given no id which the model has no embedding for: kernels look it up unchecked, and would read
    beside the table. A `vocabulary_size` of 0 is not known; ids below 0 are refused all the same."""

    def __init__(self, runtime: Runtime, vocabulary_size: int) -> None:
        self._runtime = runtime
        self._size = vocabulary_size

    def add(self, generation: Generation) -> RunningSequence:
        self._check("input_ids", generation.input_ids)
        self._check("end_ids", generation.end_ids)
        bias = generation.embedding_bias
        if bias is not None and self._size and len(bias) != self._size:
            raise RequestRefusedError(
                f"embedding_bias has {len(bias)} numbers", why=f"there are {self._size} token ids"
            )
        return self._runtime.add(generation)

    def step(self) -> bool | None:
        return self._runtime.step()

    def close(self) -> None:
        self._runtime.close()

    def _check(self, name: str, ids: Sequence[int]) -> None:
        if len(ids) == 0:
            return
        given = np.asarray(ids, np.int64)
        for extreme in (int(given.min()), int(given.max())):
            if extreme < 0 or (self._size and extreme >= self._size):
                why = f"ids are 0 to {self._size - 1}" if self._size else "ids are 0 or more"
                raise RequestRefusedError(f"{name} has the id {extreme}, which the model has no embedding for", why=why)


def opened(settings: EngineSettings) -> Runtime:
    """The runtime that the settings name, guarded."""
    return Guarded(attribute(settings.runtime)(settings), settings.vocabulary_size)
