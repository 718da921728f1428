"""Bodies on their way from the client to a request: how much of them is in memory at once, and what they may hold.

Small ones are not counted. A large one waits for room while TCP holds its sender back; no client has more than half of
the room unless it has only one body there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoker.serve.http.asgi import Receive, read_body
from stoker.serve.http.errors import ApiError, invalid, overloaded, unavailable

UPLOAD_SECONDS = 60.0
SMALL_BYTES = 256 << 10
ROOM_BYTES = 48 << 20
ROOM_SECONDS = 30.0
MOST_CONTAINERS = 1 << 16
MOST_VALUES = 1 << 18
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'",[{'))
_SLICE = 64 << 10


class Room(Protocol):
    """`enter` waits until there is room for so many bytes of the client's; `leave` gives it back."""

    async def enter(self, client: str, size: int) -> None: ...

    def leave(self, client: str, size: int) -> None: ...


class Uploads:
    """All of it belongs to one event loop. `room`: bytes."""

    def __init__(self, room: int = ROOM_BYTES) -> None:
        self._room = room
        self._held: dict[str, int] = {}
        self._left = asyncio.Event()

    def _fits(self, client: str, size: int) -> bool:
        own = self._held.get(client, 0)
        return (not own or own + size <= self._room // 2) and (
            not self._held or sum(self._held.values()) + size <= self._room
        )

    async def enter(self, client: str, size: int) -> None:
        """ApiError, 503, when there is no room for long."""
        deadline = asyncio.get_running_loop().time() + ROOM_SECONDS
        while not self._fits(client, size):
            self._left.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._left.wait(), left)
            except asyncio.TimeoutError:
                raise overloaded("Too many large bodies are being read already.", None) from None
        self._held[client] = self._held.get(client, 0) + size

    def leave(self, client: str, size: int) -> None:
        self._held[client] -= size
        if self._held[client] <= 0:
            del self._held[client]
        self._left.set()


@dataclass
class Upload:
    """One body, of as many bytes as may be expected. `done` as soon as nothing of it is needed any more."""

    _uploads: Room
    _client: str
    _expected: int
    _size: int = 0
    body: bytes = field(default=b"", repr=False)

    async def read(self, receive: Receive, closing: asyncio.Future[None]) -> None:
        """ApiError: 408 for a client that sends it too slowly, 503 where it is not there once `closing` is done, 400
        for one that holds too many values."""
        reading = asyncio.ensure_future(read_body(receive, self._arrived))
        try:
            either: set[asyncio.Future[Any]] = {reading, closing}
            done, _ = await asyncio.wait(either, timeout=UPLOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
        if reading in done:
            self.body = reading.result()
            await check_values(self.body)
            return
        if closing in done:
            raise unavailable("The server is going down and waits for no more of this body.", "draining")
        text = f"The body did not arrive within {UPLOAD_SECONDS:g} s."
        raise ApiError(408, text, kind="timeout_error", code="upload_timeout")

    async def _arrived(self, size: int) -> None:
        if size > SMALL_BYTES and not self._size:
            await self._uploads.enter(self._client, self._expected)
            self._size = self._expected

    def taken(self) -> bytes:
        """The body, which is not kept here any longer."""
        body, self.body = self.body, b""
        return body

    def done(self) -> None:
        self.body = b""
        if self._size:
            self._uploads.leave(self._client, self._size)
            self._size = 0


async def check_values(body: bytes) -> None:
    """ApiError, 400, for a body of more values than a request can mean: making them takes longer than reading them.

    Counted as signs first, which is quick. Only where there are many, those in strings are left out, a slice at a time,
    with the event loop in between.
    """
    if len(body) <= MOST_CONTAINERS or not _too_many(body):
        return
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    outside = b""
    in_text = False
    for begin in range(0, len(plain), _SLICE):
        await asyncio.sleep(0)
        parts = plain[begin : begin + _SLICE].split(b'"')
        outside += b"".join(parts[in_text::2])
        in_text ^= len(parts) % 2 == 0
        if _too_many(outside):
            text = f"The body holds more than {MOST_CONTAINERS} lists and objects, or more than {MOST_VALUES} values."
            raise invalid(text, code="too_many_values")


def _too_many(text: bytes) -> bool:
    return text.count(b"[") + text.count(b"{") > MOST_CONTAINERS or text.count(b",") > MOST_VALUES
