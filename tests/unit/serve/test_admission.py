"""Who may start, who waits, and who is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.waiting import SECONDS, until

from stoker.serve.generate.admission import Admission, Capacity
from stoker.serve.http.errors import ApiError
from stoker.serve.http.keys import Keys
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Listening
    from tests.unit.serve.scripted import ScriptedEngine


class Room:
    """An Admission, and requests of one sequence that stay until they are told to go."""

    def __init__(self, capacity: Capacity, max_waiting: int = 100) -> None:
        self.admission = Admission(max_waiting)
        self.admission.resize(capacity)
        self.started: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def request(self, name: str, tokens: int = 1, patience: float = 1e9) -> None:
        """`name` is the client and a number: a1, a2, b1."""
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._visit(name, tokens, patience))
        await asyncio.sleep(0)

    async def _visit(self, name: str, tokens: int, patience: float) -> None:
        with self.admission.enter(name[0], [tokens], patience) as visit:
            async with visit.turn(tokens):
                self.started.append(name)
                await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await asyncio.sleep(0)

    async def refusal(self, name: str) -> ApiError:
        with pytest.raises(ApiError) as refused:
            await asyncio.wait_for(self._tasks[name], SECONDS)
        return refused.value

    async def close(self) -> None:
        for name in self._tasks:
            await self.cancel(name)


def in_room(capacity: Capacity, use: Callable[[Room], Coroutine[object, object, None]], **limits: int) -> None:
    async def run() -> None:
        room = Room(capacity, **limits)
        await use(room)
        await room.close()
        assert (room.admission.waiting, room.admission.reserved_blocks) == (0, 0)
        assert not room.admission._clients

    asyncio.run(run())


def test_only_as_many_start_as_there_are_places_and_the_next_when_one_comes_free() -> None:
    async def use(room: Room) -> None:
        for name in ("a1", "a2", "a3"):
            await room.request(name)
        assert room.started == ["a1", "a2"]
        await room.end("a2")
        assert room.started == ["a1", "a2", "a3"]

    in_room(Capacity(sequences=2), use)


def test_a_sequence_waits_until_its_longest_answer_fits_and_none_slips_past_it() -> None:
    async def use(room: Room) -> None:
        await room.request("a1", 60)
        await room.request("b1", 50)
        await room.request("b2", 1)
        assert room.started == ["a1"]
        assert room.admission.reserved_blocks == 4
        await room.end("a1")
        assert room.started == ["a1", "b1", "b2"]

    in_room(Capacity(blocks=6, block_tokens=16), use)


def test_what_needs_more_than_everything_runs_alone() -> None:
    async def use(room: Room) -> None:
        await room.request("a1", 1000)
        await room.request("a2", 1)
        assert room.started == ["a1"]

    in_room(Capacity(blocks=6, block_tokens=16), use)


def test_a_client_with_many_requests_does_not_keep_another_waiting_behind_them() -> None:
    async def use(room: Room) -> None:
        for number in range(5):
            await room.request(f"a{number}", 10)
        await room.request("b0", 10)
        await room.end("a0")
        await room.end("a1")
        assert room.started == ["a0", "a1", "b0", "a2"]

    in_room(Capacity(sequences=2, block_tokens=1), use)


def test_a_full_queue_refuses_its_greatest_user_with_429_and_the_newcomer_takes_the_place() -> None:
    async def use(room: Room) -> None:
        for number in range(4):
            await room.request(f"a{number}")
        await room.request("a4")
        mine = await room.refusal("a4")
        assert (mine.status, mine.code) == (429, "rate_limit_exceeded")
        await room.request("b0")
        pushed = await room.refusal("a3")
        assert pushed.status == 429
        assert room.admission.waiting == 3

    in_room(Capacity(sequences=1), use, max_waiting=3)


def test_a_queue_that_others_fill_evenly_is_503() -> None:
    async def use(room: Room) -> None:
        for name in ("a0", "a1", "b0", "c0"):
            await room.request(name)
        refused = await room.refusal("c0")
        assert (refused.status, refused.code) == (503, "overloaded")

    in_room(Capacity(sequences=1), use, max_waiting=2)


def test_retry_after_follows_the_rate_at_which_places_come_free() -> None:
    async def use(room: Room) -> None:
        admission = room.admission
        assert admission.retry_after() is None
        await room.request("a0")
        await asyncio.sleep(0.05)
        await room.end("a0")
        for number in range(5):
            await room.request(f"b{number}")
        held = admission._seconds
        assert held >= 0.05
        assert admission.expected_wait() == pytest.approx((3 + 1) * held / 2)
        await room.request("c0", patience=held)
        refused = await room.refusal("c0")
        assert (refused.status, refused.retry_after) == (503, admission.retry_after())

    in_room(Capacity(sequences=2), use)


def test_a_client_that_leaves_the_queue_or_its_place_frees_it() -> None:
    async def use(room: Room) -> None:
        for name in ("a0", "a1", "a2"):
            await room.request(name)
        await room.cancel("a1")
        assert room.admission.waiting == 1
        await room.cancel("a0")
        assert room.started == ["a0", "a2"]

    in_room(Capacity(sequences=1), use)


def test_the_sequences_of_one_request_wait_one_by_one() -> None:
    async def run() -> None:
        admission = Admission(0)
        admission.resize(Capacity(sequences=2))
        most = running = 0

        async def sequence(visit: Any) -> None:
            nonlocal most, running
            async with visit.turn(1):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        with admission.enter("a", [1, 1]) as visit:
            await asyncio.gather(*(sequence(visit) for _ in range(7)))
        assert (most, running) == (2, 0)

    asyncio.run(run())


def test_being_cancelled_in_the_moment_of_being_let_in_loses_no_place() -> None:
    async def run() -> None:
        admission = Admission()
        admission.resize(Capacity(sequences=1))
        with admission.enter("a", [1]) as first, admission.enter("b", [1]) as second:
            async with first.turn(1):
                waiting = asyncio.ensure_future(second.turn(1).__aenter__())
                await asyncio.sleep(0)
            waiting.cancel()  # its place has been given to it, and it has not run since
            await asyncio.gather(waiting, return_exceptions=True)
            assert (admission.reserved_blocks, admission._running) == (0, 0)

    asyncio.run(run())


def _keyed(capacity: Capacity, use: Callable[[Room], Coroutine[object, object, None]], keys: int) -> None:
    async def run() -> None:
        room = Room(capacity)
        room.admission = Admission(100, lambda: keys > 1)
        room.admission.resize(capacity)
        await use(room)
        await room.close()

    asyncio.run(run())


@pytest.mark.parametrize("batch", [8, 32, 256])
def test_one_key_leaves_places_for_another_and_that_one_starts_at_once(batch: int) -> None:
    extra = max(1, batch // 8)

    async def use(room: Room) -> None:
        for number in range(batch * 2):
            await room.request(f"a{number}")
        held = len(room.started)
        assert held == batch - max(1, batch // 8), "the step's own batch has room"
        await room.request("b0")
        assert room.started[-1] == "b0"
        await room.request("b1")
        assert room.started[-1] == "b0", "the last places are for who has none"
        await room.end("a0")
        await room.end("a1")
        assert room.started[-1] == "b1", "and who holds less is next"

    _keyed(Capacity(batch + extra, extra=extra), use, keys=2)


def test_a_single_key_has_all_places() -> None:
    async def use(room: Room) -> None:
        for number in range(12):
            await room.request(f"a{number}")
        assert len(room.started) == 9

    _keyed(Capacity(9, extra=1), use, keys=1)


def test_blocks_are_left_for_others_too() -> None:
    async def use(room: Room) -> None:
        for number in range(20):
            await room.request(f"a{number}", 16)
        assert len(room.started) == 14
        await room.request("b0", 32)
        assert room.started[-1] == "b0"
        await room.request("c0", 16)
        assert room.started[-1] == "b0", "all are reserved now"

    _keyed(Capacity(blocks=16, block_tokens=16), use, keys=2)


def test_addresses_share_once_a_second_one_has_been_seen() -> None:
    async def use(room: Room) -> None:
        for number in range(8):
            await room.request(f"a{number}")
        assert len(room.started) == 8, "nobody else has ever been here"
        await room.request("b0")
        for number in range(8):
            await room.end(f"a{number}")
            await room.request(f"a1{number}")
        assert "b0" in room.started
        running = len(room.started) - 8
        assert running == 7

    in_room(Capacity(sequences=8), use)


def test_a_request_that_may_start_at_once_is_not_refused_for_anothers_queue() -> None:
    async def use(room: Room) -> None:
        for number in range(30):
            await room.request(f"a{number}")
        room.admission._seconds = 1000.0
        await room.request("b0", patience=1.0)
        assert room.started[-1] == "b0"
        await room.request("b1", patience=1.0)
        assert (await room.refusal("b1")).code == "overloaded"

    _keyed(Capacity(9, extra=1), use, keys=2)


def test_ten_requests_of_128_choices_do_not_starve_another_key(
    ask: Ask, listening: Listening, engine: ScriptedEngine, service: Service
) -> None:
    service.exposure = Exposure(keys=Keys("first second"))
    service.admission.resize(Capacity(9, extra=1))
    held = asyncio.Event()

    async def wait(step: int) -> None:
        if engine.asked[-1].max_tokens == 99:
            await held.wait()

    engine.before_step = wait

    async def run() -> None:
        async with (
            listening() as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        ):
            body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
            path, first = "/v1/chat/completions", {"x-api-key": "first"}
            greedy = [
                asyncio.ensure_future(client.post(path, json={**body, "n": 128, "max_tokens": 99}, headers=first))
                for _ in range(10)
            ]
            await until(lambda: engine.running >= 7 and service.admission.waiting >= 1200)
            small = client.post(path, json={**body, "max_tokens": 2}, headers={"x-api-key": "second"})
            assert (await small).status_code == 200
            for each in greedy:
                each.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)

    asyncio.run(run())
