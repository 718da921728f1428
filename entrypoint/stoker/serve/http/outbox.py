"""What a client is still to be sent: the engine goes on, and gives its place away, however slowly the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager

from stoker.serve.http.asgi import ClientGoneError
from stoker.serve.http.backlog import backlog

MOST_BYTES = 16 << 20  # of one answer: more than the longest context can make
STALLED_SECONDS = 60.0

Write = Callable[[bytes], Coroutine[object, object, None]]


class Outbox:
    """`put` never waits: it writes at once while the client keeps up; else a task writes what has gathered."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._size = self._writes = 0
        self._lost = False
        self._writing: asyncio.Task[None] | None = None

    def put(self, part: bytes) -> None:
        """ClientGoneError for a client that is too far behind, or further than others where all are."""
        if self._writing is not None:
            self._parts.append(part)
            self._size += len(part)
            backlog.hold(self, self._size)
            if self._size > MOST_BYTES or self._lost:
                raise ClientGoneError
            return
        rest = _begun(self._write(part))
        if rest is not None:
            self._writing = asyncio.ensure_future(self._catch_up(rest))

    async def _catch_up(self, rest: _Rest) -> None:
        await rest
        while self._parts:
            gathered, self._size = b"".join(self._parts), 0
            self._parts.clear()
            backlog.release(self)
            self._writes += 1
            await self._write(gathered)
        self._writing = None

    async def flush(self, patience: float) -> None:
        """Until all is written; ClientGoneError when the client takes nothing for so many seconds."""
        writing, seen = self._writing, -1
        while writing is not None and not writing.done():
            if self._writes == seen or self._lost:
                raise ClientGoneError
            seen = self._writes
            await asyncio.wait({writing}, timeout=patience)
        if writing is not None:
            writing.result()

    def give_up(self) -> None:
        self._lost = True
        self._parts.clear()
        self._size = 0

    def abandon(self) -> None:
        backlog.release(self)
        if self._writing is not None:
            self._writing.cancel()


@asynccontextmanager
async def outbox(write: Write, patience: float = STALLED_SECONDS) -> AsyncIterator[Outbox]:
    """Left normally or by an error, once all has been written; by cancellation, at once."""
    box = Outbox(write)
    try:
        try:
            yield box
        except Exception:
            await box.flush(patience)
            raise
        await box.flush(patience)
    finally:
        box.abandon()


class _Rest:
    """A coroutine that has run up to its first wait, to be awaited for what comes after."""

    def __init__(self, coroutine: Coroutine[object, object, None], waited_for: object) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[object, object, None]:
        waited_for = self._waited_for
        try:
            while True:
                yield waited_for
                waited_for = self._coroutine.send(None)
        except StopIteration:
            return
        finally:
            self._coroutine.close()


def _begun(coroutine: Coroutine[object, object, None]) -> _Rest | None:
    """Runs it as far as it goes without waiting, as an eager task would (which Python has from 3.12 on); None at its
    end. A task for every token would cost more than the token."""
    try:
        return _Rest(coroutine, coroutine.send(None))
    except StopIteration:
        return None
