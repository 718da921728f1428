"""A client that disconnects frees its slot within one engine step."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import Generation
from stoker.launch.run_directory import RunDirectory
from stoker.launch.supervisor import Patience, Supervisor


@pytest.fixture(scope="module")
def slow(loop, settings_of, tiny_engine):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        settings = settings_of(tiny_engine, runtime="slow_runtime:SlowRuntime", max_batch_size=2)
        supervisor = Supervisor(python_engine(settings), Patience(heartbeat=3600))
        try:
            loop.run(supervisor.start())
            yield supervisor
        finally:
            loop.run(supervisor.stop())


def steps_of(supervisor: Supervisor) -> int:
    assert supervisor.run_directory is not None
    return RunDirectory(supervisor.run_directory).pulse()


async def idle(supervisor: Supervisor) -> bool:
    return (await supervisor.client.state()).running == 0


def test_a_closed_stream_is_out_of_the_engine_before_its_next_step(loop, slow, harness):
    async def leave():
        async with aclosing(slow.client.generate(Generation("left", (1, 2), max_tokens=100))) as stream:
            await stream.__anext__()
            steps = steps_of(slow)
        await harness.until(lambda: idle(slow))
        return steps_of(slow) - steps

    # The step that was going on, another if the news came during its delivery, and the one that frees the cache.
    assert loop.run(leave()) <= 3


def test_a_closed_stream_gives_its_cache_back(loop, slow, harness):
    async def leave():
        async with aclosing(slow.client.generate(Generation("left", [9] * 40, max_tokens=200))) as stream:
            await stream.__anext__()
            await harness.until(lambda: running(slow.client, 1))
            await harness.until(lambda: holds(slow.client, 2))
        await harness.until(lambda: idle(slow))
        await harness.until(lambda: holds(slow.client, 0))

    loop.run(leave())


def test_a_cancelled_task_is_too(loop, slow, harness):
    async def leave():
        first = asyncio.Event()

        async def read():
            async for _ in slow.client.generate(Generation("left", (1, 2), max_tokens=100)):
                first.set()

        task = asyncio.create_task(read())
        await first.wait()
        steps = steps_of(slow)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await harness.until(lambda: idle(slow))
        return steps_of(slow) - steps

    assert loop.run(leave()) <= 3


def test_one_that_leaves_while_waiting_never_starts(loop, slow, harness):
    client = slow.client

    async def leave_the_queue():
        others = [asyncio.create_task(harness.tokens(client, Generation(f"{n}", (n,), 60))) for n in range(2)]
        await harness.until(lambda: running(client, 2))
        waiting = asyncio.create_task(harness.tokens(client, Generation("waiting", (9,), 100)))
        await harness.until(lambda: queued(client, 1))
        waiting.cancel()
        await harness.until(lambda: queued(client, 0))
        assert await running(client, 2)
        return [len(tokens) for tokens in await asyncio.gather(*others)]

    assert loop.run(leave_the_queue()) == [60, 60]


async def running(client, count: int) -> bool:
    return (await client.state()).running == count


async def holds(client, blocks: int) -> bool:
    return (await client.state()).kv_blocks_used == blocks


async def queued(client, count: int) -> bool:
    return (await client.state()).waiting == count
