"""The API processes of a server that has several: what the rest of it asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class WorkerState:
    """`state` is starting, ready or restarting. `requests_in_flight` now; `tokens` of the answers under way;
    `processor_seconds` of the process; `connections` that it has of all that are open."""

    worker: int
    state: str
    pid: int = 0
    restarts: int = 0
    connections: int = 0
    requests_in_flight: int = 0
    tokens: int = 0
    processor_seconds: float = 0.0


class Crew(Protocol):
    """All of it belongs to the event loop of the server's own process. `counted`: the folder of what they count."""

    counted: Path

    async def states(self) -> Sequence[WorkerState]:
        """Never fails: one that does not answer in time is told as it was."""
        ...

    async def agree(self) -> None:
        """Returns when each has done all that it was told before, or has had its time."""
        ...
