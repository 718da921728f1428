"""What Triton keeps of requests that are over."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise
from statistics import median

import pytest

from stoker.launch.connection import Connection
from stoker.launch.generation import Generation
from stoker.launch.loading import resident_bytes


async def alone(connection, generation):
    return connection._alone(generation)


@pytest.mark.parametrize("deltas_of", [Connection.deltas_of, alone], ids=["one stream for all", "a stream each"])
def test_triton_keeps_nothing_of_requests_that_are_over_or_were_left(loop, supervisor, deltas_of, monkeypatch):
    """Some kilobytes it would, of each stream that is cancelled between its last response and its end."""
    monkeypatch.setattr(Connection, "deltas_of", deltas_of)

    async def ask(count: int) -> None:
        for number in range(count):
            generation = Generation(f"r{number}", (1, 2, 3), max_tokens=4)
            async with aclosing(supervisor.client.generate(generation)) as deltas:
                async for _ in deltas:
                    if number % 4 == 0:
                        break

    async def sizes() -> list[int]:
        found = []
        for _ in range(16):
            await asyncio.gather(*(ask(50) for _ in range(8)))
            found.append(resident_bytes(supervisor.server_pid))
        return found

    # What is kept grows in most rounds, the allocator in the first ones and then now and then.
    assert median(after - before for before, after in pairwise(loop.run(sizes())[-8:])) < 128 << 10
