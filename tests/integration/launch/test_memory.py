"""What Triton keeps of requests that are over."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from stoker.launch.generation import Generation
from stoker.launch.loading import resident_bytes


def test_triton_keeps_nothing_of_requests_that_are_over_or_were_left(loop, supervisor):
    """Some kilobytes it would, of each stream that is cancelled between its last response and its end."""

    async def ask(count: int) -> None:
        for number in range(count):
            generation = Generation(f"r{number}", (1, 2, 3), max_tokens=4)
            async with aclosing(supervisor.client.generate(generation)) as deltas:
                async for _ in deltas:
                    if number % 4 == 0:
                        break

    async def grown() -> int:
        await asyncio.gather(*(ask(40) for _ in range(8)))
        before = resident_bytes(supervisor.server_pid)
        await asyncio.gather(*(ask(150) for _ in range(8)))
        return resident_bytes(supervisor.server_pid) - before

    assert loop.run(grown()) < 3 << 20
