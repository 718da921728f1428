"""The engine's client: one server after another as one engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from stoker.launch.generation import Delta, EngineState, Generation, died
from stoker.launch.suspects import Suspects, Verdicts

if TYPE_CHECKING:
    from stoker.launch.connection import Connection


class TritonClient:
    """An EngineClient whose server may be replaced under it: `attach` to a new one, `detach` when it died.

    `reason` says why there is no server, where there is none. `last_token` is when a token last came, in
    time.monotonic seconds. All of it belongs to one event loop.
    """

    def __init__(self, verdicts: Verdicts | None = None) -> None:
        self._connection: Connection | None = None
        self._metrics_socket = ""
        self.reason = "it has not been started yet"
        self.last_token = 0.0
        self.suspects = Suspects(verdicts)

    @property
    def in_flight(self) -> int:
        return self._connection.in_flight if self._connection else 0

    def attach(self, address: str, metrics_socket: str) -> None:
        """`address`: gRPC's name of a server's socket, which no other server can take: its directory is private."""
        from stoker.launch.connection import Connection  # gRPC is imported while the server loads, not before it starts

        self._connection = Connection(address, self._hear)
        self._metrics_socket = metrics_socket

    def _hear(self) -> None:
        self.last_token = time.monotonic()

    async def detach(self, reason: str) -> None:
        """Every request in flight ends with EngineDiedError at once, and so does every new one until `attach`."""
        connection, self._connection, self.reason = self._connection, None, reason
        if connection is not None:
            await connection.close(reason)

    async def model_ready(self) -> bool:
        """Whether the server has loaded the model; False while it does not answer, as until then."""
        return self._connection is not None and await self._connection.model_ready()

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        """Closing it early cancels the request. RequestRefusedError, or EngineDiedError if the engine exits."""
        connection = self._connection
        if connection is None:
            raise died(self.reason)
        with self.suspects.watch(generation):
            async with contextlib.aclosing(await connection.deltas_of(generation)) as deltas:
                async for delta in deltas:
                    yield delta

    async def state(self) -> EngineState:
        """EngineDiedError when the engine does not answer."""
        from stoker.launch.metrics import fetch_metrics, parse_state

        if self._connection is None:
            raise died(self.reason)
        try:
            return parse_state(await fetch_metrics(self._metrics_socket))
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            raise died(str(error) or "its metrics page does not answer") from error
