"""One end of the socket between the server's process and an API process: what they tell and ask each other.

Messages (stoker.framing), in order:

    [TELL, name, arguments]            no answer
    [ASK, number, name, arguments]     [ANSWER, number, value], or [REFUSE, number, error]
    [OPEN, number, name, arguments]    the same; what was answered is held until
    [CLOSE, number, error or null]     or until the link ends, however it ends

So what an API process holds (a place in the engine, room for a body) is free again as soon as it exits.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from stoker.framing import Unframer, framed
from stoker.workers.failures import failure_of, told

TELL, ASK, ANSWER, REFUSE, OPEN, CLOSE = range(6)

logger = logging.getLogger("stoker")


class LinkLostError(Exception):
    """The other process has exited."""


@dataclass(frozen=True)
class Handlers:
    """By name: what is done when something is told, what answers when it is asked, and what is entered when something
    is opened and left when it is closed."""

    told: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    asked: Mapping[str, Callable[..., Awaitable[object]]] = field(default_factory=dict)
    held: Mapping[str, Callable[..., AbstractAsyncContextManager[object]]] = field(default_factory=dict)


@dataclass
class _Holding:
    """Something of the other end's: `closing` is done when it is to be left."""

    closing: asyncio.Future[Any]
    given: bool = False
    task: asyncio.Task[None] | None = None


class Held:
    """What the other end holds for us. `value`: as it was given."""

    def __init__(self, link: Link, number: int, value: Any) -> None:
        self.number = number
        self.value = value
        self._link = link
        self._open = True

    def close(self, error: Exception | None = None) -> None:
        """`error`: how that ended for which it was held."""
        if self._open:
            self._open = False
            self._link.send(CLOSE, self.number, None if error is None else told(error))


class Link(asyncio.Protocol):
    """All of it belongs to one event loop. `lost` is done at its end."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._holdings: dict[int, _Holding] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._received = Unframer()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    # this end's part

    def tell(self, name: str, *given: object) -> None:
        self.send(TELL, name, given)

    async def ask(self, name: str, *given: object) -> Any:
        """Raises what the other end's handler raised, or LinkLostError."""
        number = next(self._numbers)
        return await self._answer(number, ASK, number, name, given)

    async def open(self, name: str, *given: object) -> Held:
        """As `ask`; given up while it waits, nothing is held."""
        number = next(self._numbers)
        try:
            return Held(self, number, await self._answer(number, OPEN, number, name, given))
        except asyncio.CancelledError:
            self.send(CLOSE, number, None)
            raise

    @asynccontextmanager
    async def holding(self, name: str, *given: object) -> AsyncIterator[Held]:
        held = await self.open(name, *given)
        try:
            yield held
        except Exception as error:
            held.close(error)
            raise
        finally:
            held.close()

    async def _answer(self, number: int, *message: object) -> Any:
        if self._transport is None or self.lost.done():
            raise LinkLostError
        answer = self._waiting[number] = self._loop.create_future()
        self.send(*message)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def send(self, *message: object) -> None:
        """With all that is sent before the event loop goes on: one write for all of it."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(framed(message))

    def _flush(self) -> None:
        if self._transport is not None and not self.lost.done():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Without what the other end has not taken yet."""
        if self._transport is not None:
            self._transport.abort()

    # the transport's part

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.lost.done():
            return
        self.lost.set_result(None)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkLostError())
        for task in tuple(self._tasks):
            task.cancel()

    async def left(self) -> None:
        """Once the link is lost: returns when all that was held is free."""
        await asyncio.shield(self.lost)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def data_received(self, data: bytes) -> None:
        for message in self._received.feed(data):
            self._hear(*message)

    # the other end's part

    def _hear(self, kind: int, *message: Any) -> None:
        if kind == TELL:
            name, given = message
            self._handlers.told[name](*given)
        elif kind in (ANSWER, REFUSE):
            self._answered(kind, *message)
        elif kind == CLOSE:
            self._close(*message)
        else:
            number, name, given = message
            self._begin(kind, number, name, given)

    def _answered(self, kind: int, number: int, value: Any) -> None:
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return
        if kind == ANSWER:
            answer.set_result(value)
        else:
            answer.set_exception(failure_of(value))

    def _begin(self, kind: int, number: int, name: str, given: Any) -> None:
        if kind == ASK:
            self._start(self._reply(number, self._handlers.asked[name](*given)))
            return
        holding = self._holdings[number] = _Holding(self._loop.create_future())
        holding.task = self._start(self._hold(number, holding, self._handlers.held[name](*given)))
        holding.task.add_done_callback(lambda _: self._holdings.pop(number, None))

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reply(self, number: int, work: Awaitable[object]) -> None:
        try:
            self.send(ANSWER, number, await work)
        except Exception as error:
            self._refuse(number, error)

    async def _hold(self, number: int, holding: _Holding, what: AbstractAsyncContextManager[object]) -> None:
        try:
            async with what as value:
                holding.given = True
                self.send(ANSWER, number, value)
                if (error := await holding.closing) is not None:
                    raise failure_of(error)
        except Exception as error:
            if not holding.given:
                self._refuse(number, error)

    def _refuse(self, number: int, error: Exception) -> None:
        packed = told(error)
        if packed[0] == "fault":
            logger.error("a question of another process was not answered", exc_info=error)
        self.send(REFUSE, number, packed)

    def _close(self, number: int, error: Any) -> None:
        """What was not given yet is given up."""
        holding = self._holdings.get(number)
        if holding is None:
            return
        if holding.given:
            holding.closing.set_result(error)
        elif holding.task is not None:
            holding.task.cancel()
