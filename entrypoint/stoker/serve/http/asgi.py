"""The little of ASGI that the hot path needs: types, whole bodies in and out, and work that ends with its client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"


class ClientGoneError(Exception):
    """The client closed the connection."""


async def read_body(receive: Receive, arrived: Callable[[int], Awaitable[None]] | None = None) -> bytes:
    """ClientGoneError when the client leaves before it is whole. `arrived` is told the number of bytes so far, and
    waited for before more is read."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if arrived is not None:
            await arrived(size)
        more = message.get("more_body", False)
    return b"".join(parts)


def header(scope: Scope, wanted: bytes) -> bytes:
    """The first header of that name, in small letters; empty without."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


async def respond(
    send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    start = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def while_connected(
    receive: Receive, aborted: asyncio.Future[None], work: Coroutine[Any, Any, None], seconds: float = math.inf
) -> asyncio.Future[None] | None:
    """Does the work; cancels it when the client disconnects or `aborted` is done first, and returns `aborted` then.

    Raises what the work raises, ClientGoneError, or asyncio.TimeoutError after so many seconds.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        timeout = None if seconds == math.inf else seconds
        done, _ = await asyncio.wait({task, gone, aborted}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            task.result()
            return None
        if aborted in done:
            return aborted
        raise ClientGoneError if gone in done else asyncio.TimeoutError
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
