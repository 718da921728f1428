"""Who may start, who waits, and who is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stoker.serve.generate.admission import Admission, Capacity
from stoker.serve.http.errors import ApiError


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
            await asyncio.wait_for(self._tasks[name], 5)
        return refused.value

    async def close(self) -> None:
        for name in self._tasks:
            await self.cancel(name)


def in_room(capacity: Capacity, use: Callable[[Room], Coroutine[Any, Any, None]], **limits: int) -> None:
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
