"""What two processes tell, ask and hold for each other, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.linking import join
from tests.waiting import SECONDS, until

from stoker.launch.generation import EngineDiedError, RequestRefusedError, died
from stoker.serve.http.errors import ApiError, too_many
from stoker.workers.link import Handlers, Link, LinkLostError


class Far:
    """The other end: remembers what it heard, and what is held there."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.held: list[Any] = []
        self.ended: list[BaseException | None] = []
        self.gate = asyncio.Event()
        asked: dict[str, Callable[..., Awaitable[object]]] = {"add": self.add, "fail": self.fail}
        self.link = Link(Handlers({"note": self.heard.append}, asked, {"take": self.take}))

    async def add(self, one: int, other: int) -> int:
        return one + other

    async def fail(self, how: str) -> None:
        raise {"api": too_many("later", 7), "died": died("it was killed"), "fault": KeyError("x")}[how]

    @asynccontextmanager
    async def take(self, what: Any) -> Any:
        await self.gate.wait()
        self.held.append(what)
        error: BaseException | None = None
        try:
            yield len(self.held)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.held.remove(what)
            self.ended.append(error)


def run(use: Callable[[Link, Far], Awaitable[None]]) -> None:
    async def inner() -> None:
        near, far = Link(Handlers()), Far()
        await join(near, far.link)
        await use(near, far)
        near.close()
        await far.link.left()

    asyncio.run(asyncio.wait_for(inner(), SECONDS))


def test_what_is_told_is_heard_before_what_is_asked_next() -> None:
    async def use(near: Link, far: Far) -> None:
        for number in range(1000):
            near.tell("note", [number, "x" * number])
        assert await near.ask("add", 1, 2) == 3
        assert [each[0] for each in far.heard] == list(range(1000))

    run(use)


def test_errors_that_a_client_is_told_of_stay_what_they_are() -> None:
    async def use(near: Link, far: Far) -> None:
        with pytest.raises(ApiError, match="later") as refused:
            await near.ask("fail", "api")
        assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "rate_limit_exceeded", 7)
        with pytest.raises(EngineDiedError, match="it was killed"):
            await near.ask("fail", "died")
        with pytest.raises(RuntimeError, match="KeyError"):
            await near.ask("fail", "fault")

    run(use)


def test_what_is_held_is_free_when_it_is_closed_and_hears_how_it_went() -> None:
    async def use(near: Link, far: Far) -> None:
        far.gate.set()
        async with near.holding("take", "a place") as held:
            assert held.value == 1
        with pytest.raises(RequestRefusedError):
            async with near.holding("take", "another"):
                raise RequestRefusedError("no")
        await until(lambda: len(far.ended) == 2)
        assert far.held == []
        assert [type(each) for each in far.ended] == [type(None), RequestRefusedError]

    run(use)


def test_who_gives_up_waiting_holds_nothing() -> None:
    async def use(near: Link, far: Far) -> None:
        waiting = asyncio.ensure_future(near.open("take", "a place"))
        await near.ask("add", 0, 0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        far.gate.set()
        await near.ask("add", 0, 0)
        await near.ask("add", 0, 0)
        assert (far.held, far.ended) == ([], [])

    run(use)


def test_what_a_lost_process_held_is_free_and_its_questions_end() -> None:
    async def use(near: Link, far: Far) -> None:
        far.gate.set()
        await asyncio.gather(*(near.open("take", number) for number in range(5)))
        far.gate.clear()
        waiting = asyncio.ensure_future(near.open("take", "more"))
        await near.ask("add", 0, 0)
        assert len(far.held) == 5
        near.close()
        await far.link.left()
        assert far.held == []
        with pytest.raises(LinkLostError):
            await waiting
        with pytest.raises(LinkLostError):
            await near.ask("add", 1, 2)

    run(use)
