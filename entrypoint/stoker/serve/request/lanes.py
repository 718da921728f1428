"""Work that would hold up the event loop, each kind of it in a lane of its own: one piece at a time, and of the clients
that wait, each in turn. So a client with much of it waits for itself, and small requests never wait for large ones.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

from stoker.event_loop import call_in_loop
from stoker.serve.http.errors import overloaded, too_many

MAX_WAITING_EACH, MAX_WAITING = 64, 256  # of large requests; of small ones the connections are limit enough

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""Whose request this task works for; set where requests begin."""

_T = TypeVar("_T")


class Lane:
    """One thread. The work must let go of the interpreter's lock, or wait for another process."""

    def __init__(self, name: str, *, large: bool) -> None:
        self._large = large
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._busy = False
        self._loop: asyncio.AbstractEventLoop | None = None
        weakref.finalize(self, self._thread.shutdown, wait=False)

    async def run(self, work: Callable[..., _T], *given: object) -> _T:
        """ApiError, 429 or 503, where too many wait already. Cancelled while it runs, the work goes on to its end."""
        await self._turn(CLIENT.get())
        loop = asyncio.get_running_loop()
        try:
            future = self._thread.submit(work, *given)
        except BaseException:
            self._next()
            raise
        future.add_done_callback(lambda _: self._done(loop))
        return await asyncio.wrap_future(future)

    async def _turn(self, client: str) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the one before has ended, and all who waited with it
            self._loop, self._busy, self._waiting = loop, False, {}
        if not self._busy:
            self._busy = True
            return
        if self._large:
            self._check_room(client)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except BaseException:
            self._leave(client, turn)
            raise

    def _check_room(self, client: str) -> None:
        if len(self._waiting.get(client, ())) >= MAX_WAITING_EACH:
            raise too_many("Too many large requests of this client wait to be read already.", None)
        if sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise overloaded("Too many large requests wait to be read already.", None)

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        """A turn that was given and not taken goes to the next."""
        if turn.done() and not turn.cancelled():
            self._next()
            return
        queue = self._waiting.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[client]

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        call_in_loop(loop, self._next_of, loop)

    def _next_of(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            self._next()

    def _next(self) -> None:
        """The first of the client whose last turn is the longest ago."""
        while self._waiting:
            client = next(iter(self._waiting))
            queue = self._waiting.pop(client)
            turn = queue.popleft()
            if queue:
                self._waiting[client] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
