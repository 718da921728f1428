"""Applications made while the engine comes: whoever asks before waits, and is told where none will come."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.waiting import SECONDS

from stoker.life.late import LateApp, engine_comes
from stoker.serve.http.asgi import App, Message, Receive, Scope, Send
from stoker.serve.operate.lifecycle import Lifecycle

HTTP = {"type": "http", "path": "/"}


async def answer_of(app: App) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody asks for the body")

    await app(dict(HTTP), receive, send)
    return sent


async def made(scope: Scope, _: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "path": scope["path"]})


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, SECONDS))


def test_a_request_waits_for_the_application() -> None:
    may_go_on = threading.Event()

    def make() -> App:
        may_go_on.wait()
        return made

    async def ask() -> list[Message]:
        app = LateApp(make)
        asked = asyncio.ensure_future(answer_of(app))
        making = asyncio.ensure_future(app.make())
        await asyncio.sleep(0)
        assert not asked.done()
        may_go_on.set()
        await making
        return await asked + await answer_of(app)

    assert run(ask()) == 2 * [{"type": "http.response.start", "status": 200, "path": "/"}]


def test_a_request_that_waits_at_the_end_is_refused() -> None:
    async def ask() -> list[Message]:
        app = LateApp(lambda: made)
        asked = asyncio.ensure_future(answer_of(app))
        await asyncio.sleep(0)
        app.give_up()
        return await asked

    assert [message.get("status") for message in run(ask())] == [503, None]


def test_one_that_cannot_be_made_says_so_and_keeps_nobody_waiting() -> None:
    def make() -> App:
        raise ImportError("no such endpoint")

    async def ask() -> int:
        app = LateApp(make)
        asked = asyncio.ensure_future(answer_of(app))
        with pytest.raises(ImportError, match="no such endpoint"):
            await app.make()
        return int((await asked)[0]["status"])

    assert run(ask()) == 503


def test_it_is_time_once_the_engine_is_started(monkeypatch) -> None:
    monkeypatch.setattr("stoker.life.late._PATIENCE_SECONDS", SECONDS)

    async def wait() -> list[bool]:
        lifecycle = Lifecycle()
        waiting = asyncio.ensure_future(engine_comes(lifecycle))
        found = []
        for phase in ("probing", "planning", "loading"):
            await asyncio.sleep(0)
            lifecycle.phase(phase)
            await asyncio.sleep(0.01)
            found.append(waiting.done())
        await waiting
        return found

    assert run(wait()) == [False, False, True]


def test_or_after_a_while(monkeypatch) -> None:
    monkeypatch.setattr("stoker.life.late._PATIENCE_SECONDS", 0.01)
    run(engine_comes(Lifecycle()))
