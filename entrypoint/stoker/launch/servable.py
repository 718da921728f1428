"""What the supervisor needs to know of an engine of any kind: how it is started, and how far it may be driven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stoker.launch.run_directory import RunDirectory
from stoker.launch.server import Command, TritonServer


@dataclass(frozen=True)
class Limits:
    """What warm-up may ask of an engine: tokens of one step, tokens of the longest sequence, concurrent sequences, and
    token ids below `vocabulary_size`, where that is known and not 0."""

    max_num_tokens: int
    longest_sequence: int
    max_batch_size: int
    vocabulary_size: int = 0


class Servable(Protocol):
    """An engine that can be started any number of times. `total_bytes`: what it reads while it loads."""

    @property
    def limits(self) -> Limits: ...

    @property
    def total_bytes(self) -> int: ...

    def command(self, run: RunDirectory) -> Command:
        """Writes the model repository into the run's directory, and says how the server is started on it.

        A model that has a process of its own writes its pid into the run's directory (settings.STUB_PID_FILE): that
        process is then watched like the server itself. EngineError if something that it needs is missing.
        """
        ...

    def loaded_bytes(self, server: TritonServer) -> int:
        """How much of `total_bytes` a server that is loading has read."""
        ...
