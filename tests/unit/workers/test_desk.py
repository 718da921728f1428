"""What is decided in the server for API processes, with processes that are only the other end of a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from tests.linking import join
from tests.waiting import SECONDS, until

from stoker.launch.generation import EngineDiedError
from stoker.serve.generate.admission import Capacity
from stoker.serve.http.app import create_answering
from stoker.serve.http.errors import ApiError
from stoker.serve.http.limits import Limits
from stoker.serve.http.uploads import Uploads
from stoker.serve.operate.counted import Summed, count_in, total
from stoker.serve.operate.service import Service
from stoker.workers.desk import Desk, Shop
from stoker.workers.link import Handlers, Link
from stoker.workers.remote import RemoteDoorkeeper, RemoteRoom


class Office:
    """A server with as many desks as are asked for."""

    def __init__(self, queue: int = 4, sequences: int = 2) -> None:
        self.service = Service(limits=Limits(queue=queue))
        self.service.admission.resize(Capacity(sequences=sequences))
        self.shop = Shop(self.service, create_answering(self.service))

    async def process(self) -> tuple[Link, Link, Desk]:
        """Its end, the server's, and the desk there."""
        desk = Desk(self.shop)
        theirs, ours = Link(Handlers()), Link(desk.handlers())
        await join(theirs, ours)
        return theirs, ours, desk


def run(use: Callable[[Office], Awaitable[None]]) -> None:
    async def inner() -> None:
        await use(Office())

    asyncio.run(asyncio.wait_for(inner(), SECONDS))


async def lost(theirs: Link, ours: Link, desk: Desk) -> None:
    theirs.close()
    await ours.left()
    desk.close()


def test_places_are_given_over_all_processes_and_are_free_when_one_is_lost() -> None:
    async def use(office: Office) -> None:
        first, second = await office.process(), await office.process()
        admission = office.service.admission
        async with AsyncExitStack() as stack:
            for theirs, _, _ in (first, second):
                visit = stack.enter_context(RemoteDoorkeeper(theirs).enter("ann", [8]))
                await stack.enter_async_context(visit.turn(8))
            assert admission.reserved_blocks == 16
            waiting = stack.enter_context(RemoteDoorkeeper(second[0]).enter("ann", [8]))
            third = asyncio.ensure_future(waiting.turn(8).__aenter__())
            await until(lambda: admission.waiting == 1)
            await lost(*first)
            await third
            assert (admission.reserved_blocks, admission.waiting) == (16, 0)
            await lost(*second)
        assert (admission.reserved_blocks, admission.waiting) == (0, 0)

    run(use)


def test_the_queue_is_one_for_all_processes() -> None:
    async def use(office: Office) -> None:
        first, second = await office.process(), await office.process()
        keepers = [RemoteDoorkeeper(each[0]) for each in (first, second)]

        async def ask(number: int) -> int:
            try:
                with keepers[number % 2].enter("ann", [8]) as visit:
                    async with visit.turn(8):
                        await asyncio.sleep(0.05)
                        return 200
            except ApiError as error:
                return error.status

        found = await asyncio.gather(*map(ask, range(10)))
        assert (found.count(200), found.count(429)) == (6, 4)  # two places, four of the queue
        await lost(*first)
        await lost(*second)

    run(use)


def test_bodies_share_one_room_which_a_lost_process_leaves() -> None:
    async def use(office: Office) -> None:
        office.service.uploads = Uploads(room=100)
        first, second = await office.process(), await office.process()
        await RemoteRoom(first[0]).enter("ann", 80)
        room = RemoteRoom(second[0])
        waiting = asyncio.ensure_future(room.enter("bob", 80))
        await second[0].ask("find", "resp_0", "bob")
        assert not waiting.done()
        await lost(*first)
        await waiting
        room.leave("bob", 80)
        await lost(*second)

    run(use)


def test_the_server_answers_what_processes_hand_on() -> None:
    async def use(office: Office) -> None:
        theirs, ours, desk = await office.process()
        asked = {"method": "GET", "path": "/v1/health/ready", "query_string": b"", "headers": []}
        who = {"address": ["::1", 0], "key": None, "request_id": "r"}
        status, headers, body = await theirs.ask("answer", {**asked, **who}, b"")
        assert status == 503
        assert b'"ready":false' in body
        assert [b"content-type", b"application/json"] in headers
        await lost(theirs, ours, desk)

    run(use)


def test_counts_of_processes_are_added_up_and_outlive_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, one of which is followed by another in its place."""
    own = CollectorRegistry()
    Counter("asked", "Requests", ("status",), registry=own).labels("200").inc(1)
    Histogram("took", "Seconds", buckets=(1, 2), registry=own).observe(0.5)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    for process, status, seconds in ((0, "200", 1.5), (1, "429", 5), (0, "200", 0.5)):
        count_in(tmp_path, process)
        registry = CollectorRegistry()
        Counter("asked", "Requests", ("status",), registry=registry).labels(status).inc(10)
        Histogram("took", "Seconds", buckets=(1, 2), registry=registry).observe(seconds)
    families = {family.name: family for family in Summed(own, tmp_path).collect()}
    found = {(each.name, *each.labels.values()): each.value for family in families.values() for each in family.samples}
    assert found["asked_total", "200"] == 21
    assert found["asked_total", "429"] == 10
    assert [found["took_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert (found["took_count",], found["took_sum",]) == (4, 7.5)
    assert total(tmp_path, "asked") == 30


@pytest.mark.parametrize("ends", [EngineDiedError("it died"), None])
def test_a_replica_hears_how_the_requests_of_processes_went(ends: Exception | None) -> None:
    from tests.loading import load

    replicas = load("workers_replicas", Path(__file__).parents[1] / "launch" / "test_replicas.py")

    async def use(office: Office) -> None:
        engine = replicas.Engine()
        await engine.replicas.start(replicas.Silent())
        office.shop.replicas = engine.replicas
        theirs, ours, desk = await office.process()
        held = await theirs.open("route", 40, [1, 2, 3], "")
        member = engine.replicas._members[held.value[0]]
        assert (member.sequences, member.waiting) == (1, 40)
        theirs.tell("begun", held.value[1])
        theirs.tell("alive", 99)  # of an engine that had more of them
        held.close(ends)
        await until(lambda: member.sequences == 0)
        assert member.waiting == 0
        assert (member.failing_until > 0) is (ends is not None)
        again = [await theirs.open("route", 40, [1, 2, 3], "") for _ in range(2)]
        assert len({each.value[0] for each in again}) == (1 if ends else 2)
        await lost(theirs, ours, desk)
        assert sum(each.sequences for each in engine.replicas._members) == 0
        await engine.replicas.stop()

    run(use)
