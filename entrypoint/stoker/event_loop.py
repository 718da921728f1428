"""An event loop as other threads see it, and as signals do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Has the loop call it, from any thread; nothing happens where the loop has ended, which it may at any time."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)


def run_interruptible(work: Coroutine[Any, Any, _T]) -> _T:
    """uvloop.run, where Ctrl-C and SIGTERM first end the work at one of its awaits, and then are handled as before.

    What their handlers raise in the middle of a callback, uvloop takes for a failure of the callback's connection.
    """
    import uvloop

    told: list[int] = []

    async def main() -> _T:
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

        def end(number: int) -> None:
            told.append(number)
            task.cancel()

        for number in handlers:
            loop.add_signal_handler(number, end, number)
        return await task

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        result: _T = uvloop.run(main())
        return result
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if told:
            signal.raise_signal(told[0])
