"""What a client is still to be sent: the engine goes on, and gives its place away, however slowly the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from stoker.serve.asgi import ClientGoneError

MOST_BYTES = 16 << 20  # of one answer: more than the longest context can make
STALLED_SECONDS = 120.0


class Outbox:
    """`put` never waits; a task beside it writes what has gathered, all at once."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = self._writes = 0
        self._closed = self._writing = False
        self._idle: asyncio.Future[None] | None = None

    def put(self, part: bytes) -> None:
        """ClientGoneError for a client that is too far behind."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > MOST_BYTES:
            raise ClientGoneError
        self._wake()

    def close(self) -> None:
        """Nothing more comes: writing ends when the rest is written."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    async def write(self) -> None:
        while self._parts or not self._closed:
            if not self._parts:
                self._idle = self._loop.create_future()
                await self._idle
                continue
            gathered, self._size = b"".join(self._parts), 0
            self._parts.clear()
            self._writing = True
            await self._write(gathered)
            self._writing = False
            self._writes += 1

    async def watch(self, writing: asyncio.Task[None], patience: float) -> None:
        """Returns when the writing is done; ClientGoneError when the client took nothing for too long."""
        seen = -1
        while not writing.done():
            if self._writing and self._writes == seen:
                raise ClientGoneError
            seen = self._writes
            await asyncio.wait({writing}, timeout=patience)
        writing.result()


@asynccontextmanager
async def outbox(write: Callable[[bytes], Awaitable[None]], patience: float = STALLED_SECONDS) -> AsyncIterator[Outbox]:
    """Left normally or by an error, once all has been written; by cancellation, at once."""
    box = Outbox(write)
    writing = asyncio.create_task(box.write())
    try:
        try:
            yield box
        except Exception:
            box.close()
            await box.watch(writing, patience)
            raise
        box.close()
        await box.watch(writing, patience)
    finally:
        writing.cancel()
