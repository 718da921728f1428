"""The server's answers to one API process: what has to be right over all of them is decided here.

All that the process holds is given back when its link ends.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stoker.launch.replicas import Replicas, Share
from stoker.serve.apis.openai_responses.store import Kept
from stoker.serve.generate.admission import Admission
from stoker.serve.http.asgi import App, Message
from stoker.serve.http.errors import ApiError, unavailable
from stoker.serve.http.middleware import RequestRecord
from stoker.serve.operate.service import Service
from stoker.workers.link import Handlers

logger = logging.getLogger("stoker")


@dataclass
class Shop:
    """What the desks of all API processes have in common. `answering`: the API without keys, log and limits, which each
    process has itself."""

    service: Service
    answering: App
    replicas: Replicas | None = None


class _Entered:
    """A request that was let in, with its sequences in the queue from the first: whoever enters next finds them there.
    ApiError as Admission.enter raises it."""

    def __init__(self, admission: Admission, client: str, tokens: list[int], patience: float) -> None:
        self._stack = ExitStack()
        self._visit = self._stack.enter_context(admission.enter(client, tokens, patience))
        self._turns = deque(map(self._visit.line_up, tokens))

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        turn = self._turns.popleft() if self._turns else self._visit.line_up(tokens)
        async with self._visit.hold(turn):
            yield

    def leave(self) -> None:
        while self._turns:
            self._visit.drop(self._turns.popleft())
        self._stack.close()


@dataclass
class Desk:
    shop: Shop
    _visits: dict[int, _Entered | ApiError] = field(default_factory=dict)
    _shares: dict[int, Share] = field(default_factory=dict)
    _tickets: Any = field(default_factory=itertools.count)

    def handlers(self) -> Handlers:
        told: Mapping[str, Callable[..., object]] = {
            "enter": self._enter,
            "leave": self._leave,
            "begun": self._begun,
            "alive": self._alive,
            "keep": self._keep,
            "adapter": self.shop.service.adapters.named,
        }
        asked: Mapping[str, Callable[..., Awaitable[object]]] = {"find": self._find, "answer": self._answer}
        return Handlers(told, asked, {"turn": self._turn, "room": self._room, "route": self._route})

    def _enter(self, number: int, client: str, tokens: list[int], patience: float) -> None:
        try:
            self._visits[number] = _Entered(self.shop.service.admission, client, tokens, patience)
        except ApiError as error:
            self._visits[number] = error

    def _leave(self, number: int) -> None:
        visit = self._visits.pop(number)
        if isinstance(visit, _Entered):
            visit.leave()

    @asynccontextmanager
    async def _turn(self, visit: int, tokens: int) -> AsyncIterator[None]:
        entered = self._visits[visit]
        if isinstance(entered, ApiError):
            raise entered
        async with entered.turn(tokens):
            yield

    @asynccontextmanager
    async def _room(self, client: str, size: int) -> AsyncIterator[None]:
        uploads = self.shop.service.uploads
        await uploads.enter(client, size)
        try:
            yield
        finally:
            uploads.leave(client, size)

    @asynccontextmanager
    async def _route(self, length: int, hashes: Sequence[int], grammar: str) -> AsyncIterator[list[int]]:
        """The replica, and the ticket by which the answer's beginning is told."""
        if self.shop.replicas is None:
            raise unavailable("The engine is being replaced.", "not_ready")
        ticket = next(self._tickets)
        with self.shop.replicas.routed(length, hashes, grammar) as share:
            self._shares[ticket] = share
            try:
                yield [share.replica, ticket]
            finally:
                del self._shares[ticket]

    def _begun(self, ticket: int) -> None:
        if share := self._shares.get(ticket):
            share.begun()

    def _alive(self, replica: int) -> None:
        replicas = self.shop.replicas
        if replicas is not None and replica < len(replicas.states):  # those of the engine before may have been more
            replicas.heard(replica)

    def _keep(self, kept: dict[str, Any]) -> None:
        if self.shop.service.responses is not None:
            self.shop.service.responses.put(msgspec.convert(kept, Kept))

    async def _find(self, id_: str, owner: str) -> dict[str, Any] | None:
        store = self.shop.service.responses
        found = await store.find(id_, owner) if store is not None else None
        return None if found is None else msgspec.to_builtins(found)

    async def _answer(self, request: dict[str, Any], body: bytes) -> list[Any]:
        """Status, headers and content."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "raw_path": request["path"].encode(),
            "client": tuple(request["address"]) or None,
            "server": None,
            "state": {"client": request["key"], "record": RequestRecord(request["request_id"])},
            **{name: request[name] for name in ("method", "path", "query_string")},
            "headers": [(name, value) for name, value in request["headers"]],
        }
        reply = _Collected(body)
        try:
            await self.shop.answering(scope, reply.receive, reply.send)
        except Exception:  # which has been answered with status 500
            logger.exception("%s %s failed", request["method"], request["path"])
        return [reply.status, reply.headers, b"".join(reply.parts)]

    def close(self) -> None:
        """Once nothing is held any more."""
        for number in tuple(self._visits):
            self._leave(number)


class _Collected:
    """An answer on its way through a link."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 500
        self.headers: list[list[bytes]] = []
        self.parts: list[bytes] = []

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [list(pair) for pair in message.get("headers", ())]
        else:
            self.parts.append(message.get("body", b""))
