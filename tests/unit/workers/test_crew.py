"""What becomes of API processes that do not start, or end at the wrong moment."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.linking import join
from tests.waiting import SECONDS

from stoker.serve.http.app import create_answering
from stoker.serve.http.connections import Connections
from stoker.serve.operate.service import Service
from stoker.workers import crew, member
from stoker.workers.crew import ApiProcessError, Crew
from stoker.workers.desk import Shop
from stoker.workers.handing import Inlet, Outlet, pair
from stoker.workers.link import Handlers, Link, LinkLostError
from stoker.workers.member import Member


def run(use: Callable[[], Awaitable[None]]) -> None:
    async def inner() -> None:
        await asyncio.wait_for(use(), SECONDS)

    asyncio.run(inner())


async def member_of(far: Link) -> Member:
    """One whose process has ended, and whose link has not."""
    service = Service()
    found = Member(0, Shop(service, create_answering(service)))
    found._process = subprocess.Popen([sys.executable, "-c", ""])
    ours, theirs = pair()
    theirs.close()
    found._outlet = Outlet(ours)
    await join(found.link, far)
    return found


def test_a_process_that_has_ended_can_be_stopped() -> None:
    """As when the server is stopped before another has taken its place."""

    async def use() -> None:
        far = Link(Handlers())
        ended = await member_of(far)
        far.close()
        assert await ended.ended() == "exit code 0"
        await ended.stop()

    run(use)


def test_a_process_that_does_not_answer_does_not_hold_up_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "_ANSWER_SECONDS", 0.01)

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    async def use() -> None:
        stuck = await member_of(Link(Handlers(asked={"drained": never})))
        assert await stuck.drained(0.01) == 1
        stuck.link.abort()
        await stuck.ended()
        assert await stuck.drained(0.01) == 0

    run(use)


def test_nothing_is_asked_of_a_process_that_was_not_started() -> None:
    async def use() -> None:
        with pytest.raises(LinkLostError):
            await Link(Handlers()).ask("state")

    run(use)


def test_a_connection_that_comes_without_its_descriptor_is_over() -> None:
    """The kernel drops it where a process may have no more of them."""

    async def use() -> None:
        over: list[int] = []
        near, far = Link(Handlers()), Link(Handlers({"over": over.append}))
        await join(near, far)
        ours, theirs = pair()
        taken: list[Any] = []
        inlet = Inlet(theirs, lambda connection, place: taken.append((connection, place)), near)
        ours.send((7).to_bytes(8, "little") + b"192.0.2.1")
        outlet, client = Outlet(ours), socket.socketpair()
        outlet.hand(client[0], 8, "192.0.2.2")
        while not (over and taken):
            await asyncio.sleep(0.001)
        ((connection, place),) = taken
        assert (over, place.address) == ([7], "192.0.2.2")
        inlet.close()
        outlet.close()
        for end in (theirs, connection, client[1]):
            end.close()
        near.close()
        await far.left()

    run(use)


class Unwilling:
    """A Member whose process runs, and fails at whatever it is told first."""

    made: list[Unwilling]

    def __init__(self, number: int, shop: Shop) -> None:
        self.ready = self.killed = False
        self.link = self
        self.made.append(self)

    async def start(self, seed: str) -> None:
        pass

    async def ask(self, name: str, *given: Any) -> None:
        raise RuntimeError("in another process: OSError(28, 'No space left on device')")

    async def kill(self) -> None:
        self.killed = True

    async def stop(self) -> None:
        pass


def test_processes_that_cannot_begin_are_ended_tried_again_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unwilling, "made", [], raising=False)
    monkeypatch.setattr(crew, "Member", Unwilling)
    monkeypatch.setattr(crew, "_BACKOFF", 0.001)
    monkeypatch.setattr(Crew, "_order", lambda *_: None)

    async def use() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            bound.setblocking(False)
            start: Any = SimpleNamespace(tls=None)
            several = Crew(2, start, Service(), bound, Connections(4))
            serving = asyncio.ensure_future(several.serve())
            nothing: Any = None
            with pytest.raises(ApiProcessError):
                await several.equip(nothing, nothing)
            await several.stop()
            await serving
        assert len(Unwilling.made) >= 2 * crew._ATTEMPTS
        assert all(one.killed for one in Unwilling.made)

    run(use)


def test_replicas_of_an_engine_that_is_only_starting_are_not_told_yet() -> None:
    class Running:
        def address(self, number: int) -> None:
            raise AssertionError(f"asked for replica {number}")

    async def use() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            start: Any = None
            several, now, coming = Crew(1, start, Service(), bound, Connections(4)), Running(), Running()
            several._equip = (start, now)  # type: ignore[assignment]
            several.follow(coming, 5)  # type: ignore[arg-type]
            several._directory.remove()

    run(use)
