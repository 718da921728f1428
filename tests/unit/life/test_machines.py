"""Who leads and who follows, and how each learns that another is lost, over real sockets."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.ports import free_port

from stoker.errors import EngineError, UsageError
from stoker.life.follower import follow
from stoker.life.machines import Attendance, Place, attend, place_of, unless
from stoker.settings.layers import load_settings

LEADER = Place(2, 0, "127.0.0.1")
FOLLOWER = Place(2, 1, "127.0.0.1")


def test_the_place_is_what_the_settings_say_and_must_make_sense():
    group = {"LWS_GROUP_SIZE": "2", "LWS_WORKER_INDEX": "1", "LWS_LEADER_ADDRESS": "group-0.group"}
    assert place_of(load_settings({}, {})) == Place()
    assert place_of(load_settings({}, group)) == Place(2, 1, "group-0.group")
    with pytest.raises(UsageError, match="--node-rank 2 is not one of 2 machines"):
        place_of(load_settings({"nodes": "2", "node-rank": "2", "leader": "a"}, {}))
    with pytest.raises(UsageError, match="needs --leader"):
        place_of(load_settings({"nodes": "2"}, {}))


def test_a_leader_is_told_by_name_which_machine_is_gone():
    async def run() -> None:
        where = free_port()
        attendance = Attendance(LEADER, where)
        async with attendance.kept() as gone:
            following = asyncio.create_task(attend(FOLLOWER, where))
            work = asyncio.create_task(unless(gone, asyncio.sleep(3600)))
            while not attendance.here:
                await asyncio.sleep(0.01)
            assert not work.done()
            following.cancel()
            with pytest.raises(EngineError, match="machine 1 of 2 is lost"):
                await work

    asyncio.run(run())


def test_somebody_who_is_no_follower_changes_nothing():
    async def run() -> None:
        where = free_port()
        async with Attendance(LEADER, where).kept() as gone:
            for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"stoker follower 7\n", b"stoker follower x\n", b"x" * 1000):
                reader, writer = await asyncio.open_connection("127.0.0.1", where)
                writer.write(said)
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
            assert not gone.done()

    asyncio.run(run())


class Part:
    """A machine's part of an engine that runs until it is stopped, or fails."""

    def __init__(self, failure: EngineError | None = None) -> None:
        self.failure = failure
        self.stopped = threading.Event()

    def run(self) -> None:
        if self.failure is None:
            self.stopped.wait()
        raise self.failure or EngineError("it was stopped")

    def stop(self) -> None:
        self.stopped.set()


def test_a_follower_ends_with_the_leader_and_says_so(monkeypatch):
    async def gone(place: Place) -> None:
        await asyncio.sleep(0.05)

    monkeypatch.setattr("stoker.life.follower.attend", gone)
    part = Part()
    with pytest.raises(EngineError, match="the leader exited"):
        asyncio.run(follow(part, FOLLOWER))
    assert part.stopped.is_set()


def test_a_part_that_ends_after_the_loop_has_is_no_fault(monkeypatch):
    async def gone(place: Place) -> None:
        return

    monkeypatch.setattr("stoker.life.follower.attend", gone)
    part = Part()
    monkeypatch.setattr(part, "stop", lambda: None)
    with pytest.raises(EngineError, match="the leader exited"):
        asyncio.run(follow(part, FOLLOWER))
    part.stopped.set()
    for thread in threading.enumerate():
        if thread.name == "follower":
            thread.join()  # an exception there would be this test's


def test_a_follower_whose_part_ends_says_why(monkeypatch):
    async def never(place: Place) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr("stoker.life.follower.attend", never)
    with pytest.raises(EngineError, match="out of memory"):
        asyncio.run(follow(Part(EngineError("out of memory")), FOLLOWER))
