"""What an API process asks of the server's, in the place of what a server with one process has itself."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec

from stoker.serve.apis.openai_responses.store import Kept
from stoker.serve.http.asgi import Receive, Scope, Send, header
from stoker.serve.http.limits import call_of, expected_bytes
from stoker.serve.http.uploads import Room, Upload
from stoker.serve.operate.service import Service
from stoker.workers.link import Held, Link


class RemoteDoorkeeper:
    """The server's Admission: fair over the clients of all API processes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = itertools.count()

    @contextmanager
    def enter(self, name: str, tokens: list[int], patience: float = math.inf) -> Iterator[RemoteVisit]:
        """What the server refuses is raised by the visit's first turn."""
        number = next(self._numbers)
        self._link.tell("enter", number, name, tokens, patience)
        try:
            yield RemoteVisit(self._link, number)
        finally:
            self._link.tell("leave", number)


class RemoteVisit:
    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self.queue_seconds = 0.0

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        arrived = time.monotonic()
        async with self._link.holding("turn", self._number, tokens):
            self.queue_seconds = max(self.queue_seconds, time.monotonic() - arrived)
            yield


class RemoteRoom(Room):
    """Room for large bodies, shared by all API processes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._held: dict[tuple[str, int], list[Held]] = {}

    async def enter(self, client: str, size: int) -> None:
        held = await self._link.open("room", client, size)
        self._held.setdefault((client, size), []).append(held)

    def leave(self, client: str, size: int) -> None:
        all_ = self._held[client, size]
        all_.pop().close()
        if not all_:
            del self._held[client, size]


class RemoteStore:
    """Responses are kept by the server, whichever process made them."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, kept: Kept) -> None:
        self._link.tell("keep", msgspec.to_builtins(kept))

    async def find(self, id_: str, owner: str) -> Kept | None:
        found = await self._link.ask("find", id_, owner)
        return None if found is None else msgspec.convert(found, Kept)

    def delete(self, id_: str, owner: str) -> bool:
        raise NotImplementedError("what deletes is answered by the server's own process")


class Elsewhere:
    """An ASGI application: the server's own process answers, once the request has been let through here."""

    def __init__(self, link: Link, service: Service) -> None:
        self._link = link
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._service.limits
        body = Upload(self._service.uploads, call_of(scope, limits).client, expected_bytes(scope, limits))
        try:
            if _has_body(scope):
                await body.read(receive, self._service.lifecycle.closing)
            status, headers, content = await self._link.ask("answer", _plain(scope), body.taken())
        finally:
            body.done()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _has_body(scope: Scope) -> bool:
    return header(scope, b"content-length") not in (b"", b"0") or bool(header(scope, b"transfer-encoding"))


def _plain(scope: Scope) -> dict[str, Any]:
    """What of a request its answer depends on."""
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query_string": scope["query_string"],
        "headers": list(scope["headers"]),
        "address": list(scope["client"] or ()),
        "key": scope["state"].get("client"),
        "request_id": scope["state"]["record"].id,
    }
