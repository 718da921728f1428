"""An event loop in a thread of its own, so that one server serves many plain test functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from stoker.launch import contract
from stoker.launch.client import TritonClient
from stoker.launch.generation import Delta, Generation
from stoker.launch.supervisor import Supervisor

T = TypeVar("T")
PATIENCE = 60.0  # seconds for anything that a test waits for


class LoopThread:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="tests' loop")
        self._thread.start()

    def run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE), self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def another(supervisor: Supervisor) -> TritonClient:
    """A client as another API process would have it."""
    server = supervisor._server
    assert server is not None
    client = TritonClient()
    client.attach(server.address, server.metrics_socket)
    return client


def alone(supervisor: Supervisor) -> TritonClient:
    """One that does not know the multiplexed stream: each of its requests has a call of its own."""
    client = another(supervisor)
    connection = client._connection
    assert connection is not None

    async def others() -> Mapping[str, str]:
        inputs = await connection.ask_inputs()
        return {name: wire_type for name, wire_type in inputs.items() if name != contract.CHANNEL}

    connection.inputs = asyncio.create_task(others())
    return client


async def collect(client: TritonClient, generation: Generation) -> list[Delta]:
    return [delta async for delta in client.generate(generation)]


async def tokens(client: TritonClient, generation: Generation) -> list[int]:
    return [token for delta in await collect(client, generation) for token in delta.ids]


async def until(condition: Any) -> None:
    """Polls a coroutine function, or a plain one, until it is true; the caller's time limit bounds it."""
    while True:
        answer = condition()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        await asyncio.sleep(0.01)


async def restarted(supervisor: Supervisor, before: int) -> None:
    await until(lambda: supervisor.restarts > before and supervisor.ready)
