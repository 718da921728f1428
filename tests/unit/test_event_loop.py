"""Other threads and an event loop that may have ended."""

from __future__ import annotations

import asyncio
import threading

from stoker.event_loop import call_in_loop


def test_it_is_called_in_the_loops_thread() -> None:
    async def run() -> int:
        called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        loop, thread = asyncio.get_running_loop(), threading.get_ident

        def other() -> None:
            call_in_loop(loop, lambda given: called.set_result(given + thread()), 0)

        await asyncio.to_thread(other)
        return await called

    assert asyncio.run(run()) == threading.get_ident()


def test_a_loop_that_has_ended_is_not_told() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_in_loop(loop, lambda: None)
